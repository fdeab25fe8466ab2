"""Models of two devices side by side: a lake worked by hand, and that other distributions stand out where equal ones do not."""

import numpy as np
import pytest

IDENTITY = {"partition_models": 4}


@pytest.fixture
def trained(lake_of, add):
    """Makes a lake of margins [n_devices, 4, n_targets], a partition a device."""

    def make(margins):
        lake = lake_of()
        for device, of_device in enumerate(margins):
            ids = range(4 * device, 4 * device + len(of_device))
            rows = [{"model_id": i, "mask_id": i, "test_margin": m} for i, m in zip(ids, of_device, strict=True)]
            add(lake, "margins", rows, IDENTITY, first=device, device=f"device {device}")
        return lake

    return make


def test_two_devices_worked_by_hand(trained, ask):
    """Target 0: means 2.5 and 4.5, variances 5/3; target 1: equal means, the second twice as wide; target 2 never varies."""
    lake = trained([[[1, 4, 7], [2, 2, 7], [3, 4, 7], [4, 2, 7]], [[3, 5, 7], [4, 1, 7], [5, 5, 7], [6, 1, 7]]])
    [row] = ask(lake, "devices")
    assert (row["device"], row["other"], row["n_models"], row["n_other"], row["n_targets"]) == ("device 0", "device 1", 4, 4, 2)
    z = -2 / np.sqrt(2 * 5 / 3 / 4)
    assert row["z_mean"] == pytest.approx(abs(z) / np.sqrt(2))
    assert row["z_sd"] == pytest.approx(np.log(2) / np.sqrt(1 / 3) / np.sqrt(2))
    assert (row["mean_shift"], row["worst_z"], row["worst_target"]) == (-1, pytest.approx(abs(z)), 0)


def test_equal_distributions_give_about_1_and_others_do_not(lake_of, add, ask):
    rng = np.random.default_rng(0)
    for shift, width in ((0, 1), (0.5, 1), (0, 1.5)):
        lake = lake_of()
        for device in range(2):
            values = rng.normal(size=(64, 200)) * (width if device else 1) + shift * device
            rows = [{"model_id": 64 * device + i, "mask_id": i, "test_margin": v.tolist()} for i, v in enumerate(values)]
            add(lake, "margins", rows, {"partition_models": 64}, first=device, device=f"device {device}")
        [row] = ask(lake, "devices", study="toy")
        assert (0.8 < row["z_mean"] < 1.2) == (shift == 0)
        assert (0.8 < row["z_sd"] < 1.2) == (width == 1)


def test_one_device_has_nothing_to_be_compared_with(trained, ask):
    assert ask(trained([[[1, 2, 3], [2, 3, 4]]]), "devices") == []
