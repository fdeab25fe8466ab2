"""Subsets by class and size: order kept, classes renamed from 0, and nothing asked for that is not there."""

import numpy as np
import pytest

from builders import datasets, study
from builders.study import Dataset
from lake.errors import UsageError


def test_the_images_of_the_kept_classes_stay_in_order_and_their_classes_are_counted_from_0():
    whole, part = datasets.load(Dataset()), datasets.load(Dataset(classes=(7, 1), n_train=50, n_test=9))
    rows = np.flatnonzero(np.isin(whole.train_labels, [1, 7]))[:50]
    assert np.array_equal(part.train_images, whole.train_images[rows])
    assert np.array_equal(part.train_labels, (whole.train_labels[rows] == 1).astype(int))
    assert set(np.unique(part.test_labels)) == {0, 1}
    assert (len(part.test_labels), part.class_names) == (9, ("7", "1"))


def test_the_name_tells_classes_and_sizes_and_no_two_subsets_share_one():
    chosen = [Dataset(classes=(3, 5)), Dataset(n_train=3, n_test=5), Dataset(classes=(5, 3)), Dataset(n_test=5)]
    assert [d.name for d in chosen] == ["digits-c3-c5", "digits-3-5", "digits-c5-c3", "digits-all-5"]
    assert Dataset(source="cifar10", classes=(0, 1), n_train=1000, n_test=400).name == "cifar10-c0-c1-1000-400"
    assert Dataset(source="folder:/some/where/photos", side=32).name == "folder-photos-32px"


@pytest.mark.parametrize(
    ("dataset", "wanted"),
    [
        ({"classes": [3, 12]}, r"classes \[12\] are not there; it has 0 to 9"),
        ({"classes": [3, 5], "n_train": 500}, "n_train = 500, but there are 2"),
        ({"classes": [3, 5], "n_test": 300}, "n_test = 300, but there are 1"),
        ({"classes": [3]}, "classes"),
        ({"classes": [3, 3]}, r"dataset.classes: names one twice, got \(3, 3\)"),
        ({"classes": [-1, 3]}, "classes"),
        ({"side": 16}, "side is for hub:, torchvision:, folder: sources"),
    ],
)
def test_what_is_not_there_is_refused_by_name(dataset, wanted):
    algorithm = {"name": "patchnet"}
    with pytest.raises(UsageError, match=wanted) as error:
        datasets.load(study.parse({"name": "mine", "dataset": dataset, "algorithm": algorithm}, "mine.toml").dataset)
    assert "\n" not in str(error.value)


def test_a_study_on_two_classes_builds_to_the_end(lake, study_of, build_missing):
    dataset = {"source": "digits", "classes": (0, 1), "n_train": 60, "n_test": 20}
    report = build_missing(lake, study_of(dataset=dataset, algorithm={"name": "logistic"}))  # which compiles nothing
    assert not report.failures
    assert report.added["margins"] == 4
