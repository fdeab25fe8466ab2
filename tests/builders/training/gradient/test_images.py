"""Batches cut out of bytes on the device, held against a plain reference that pads, mirrors, cuts and blanks."""

import numpy as np
import pytest
import torch

from builders.training.gradient import images
from builders.training.gradient.words import below, words

MEAN, SD = np.array([100.7, 50.2, 20.0]), np.array([10.0, 20.0, 30.0])


@pytest.mark.parametrize("reflect", [False, True])
def test_a_batch_is_what_a_plain_reference_makes(data, reflect):
    pixels = images.resident(data.train_images, 2, reflect, MEAN, SD, "cpu")
    examples, draws = torch.tensor([[3, 7, 3], [0, 9, 12]]), words(0, "augment/fit", torch.arange(6)).reshape(2, 3)
    found = images.batch(pixels, examples, draws, cutout=4)
    fill = MEAN.astype(np.uint8)
    for at in np.ndindex(2, 3):
        image = data.train_images[examples[at]].astype(np.uint8)
        if draws[at] & 1:
            image = image[:, ::-1]
        padded = np.stack(
            [
                np.pad(image[..., c], 2, "reflect") if reflect else np.pad(image[..., c], 2, constant_values=fill[c])
                for c in range(3)
            ],
            2,
        )
        top, left = (int(below(draws[at], i, 5)) for i in (0, 1))
        view = padded[top : top + 16, left : left + 16].copy()
        y, x = (int(below(draws[at], i, 13)) for i in (2, 3))
        view[y : y + 4, x : x + 4] = fill
        assert np.allclose(found[at].numpy(), ((view - MEAN) / SD).transpose(2, 0, 1), atol=1e-5)


def test_without_augmentation_images_come_as_they_are_with_channels_last_in_memory(data):
    pixels = images.resident(data.train_images, 0, False, MEAN, SD, "cpu")
    found = images.batch(pixels, torch.arange(5), torch.zeros(5, dtype=torch.long), 0)
    assert torch.equal(found, images.plain(pixels, 0, 5))
    assert np.allclose(found.permute(0, 2, 3, 1).numpy(), (data.train_images[:5] - MEAN) / SD, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_plain_view_may_be_shifted(data):
    pixels = images.resident(data.train_images, 1, True, MEAN, SD, "cpu")
    still, moved = images.plain(pixels, 0, 2), images.plain(pixels, 0, 2, (1, 1))
    assert torch.equal(moved[..., :-1, :-1], still[..., 1:, 1:])


def test_pixels_are_scaled_by_all_training_images_or_as_told(data):
    mean, sd = images.scale(data, (), ())
    assert mean == pytest.approx(data.train_images.mean((0, 1, 2)))
    assert sd == pytest.approx(data.train_images.std((0, 1, 2)))
    assert images.scale(data, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))[1].tolist() == [4, 5, 6]
    with pytest.raises(ValueError, match="pixel_mean and pixel_sd have 1 and 1 channels, the images have 3"):
        images.scale(data, (1.0,), (2.0,))
    flat = type(data)(data.train_images * 0, data.train_labels, data.test_images, data.test_labels, data.class_names)
    with pytest.raises(ValueError, match="every training pixel of a channel is the same"):
        images.scale(flat, (), ())
