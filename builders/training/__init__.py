"""Learning algorithms, and the interface that they share."""
