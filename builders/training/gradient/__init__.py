"""Networks trained by gradient descent in PyTorch, on a CPU or on CUDA, many at once or one after another."""
