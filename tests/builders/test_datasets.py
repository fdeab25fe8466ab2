"""Datasets: a pinned digest that any change breaks, refusals in one line, and a user's own by `module:function`."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from builders import datasets
from builders.study import Dataset
from builders.training.interface import Data
from lake.errors import UsageError

OWN = """
    import numpy as np
    from builders.training.interface import Data

    def load():
        rng = np.random.default_rng(0)
        labels = np.arange(60) % 3
        images = (rng.integers(0, 100, (60, 8, 8, 3)) + 50 * labels[:, None, None, None]).astype(np.uint8)
        return Data(images[:40], labels[:40], images[40:], labels[40:], ("a", "b", "c"))

    number = 3
"""


@pytest.fixture
def data() -> Data:
    return datasets.load(Dataset(n_train=60, n_test=20))


def changed(data: Data, split: str, name: str, at: tuple[int, ...]) -> Data:
    values = getattr(data, f"{split}_{name}").copy()
    values[at] ^= 1
    return replace(data, **{f"{split}_{name}": values})


def test_digits_are_the_whole_of_the_source():
    whole = datasets.load(Dataset())
    assert whole.train_images.shape == (1000, 8, 8, 1)
    assert whole.test_images.shape == (797, 8, 8, 1)
    assert sorted(np.unique(whole.train_images)) == [round(level * 255 / 16) for level in range(17)]
    assert np.bincount(np.concatenate([whole.train_labels, whole.test_labels])).tolist() == [
        *(178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
    ]


def test_pinned_digests_are_those_of_the_images():
    for dataset in (Dataset(), Dataset(n_train=200, n_test=100)):
        assert datasets.digest(dataset) == datasets.PINNED[dataset.name] == datasets.digest_of(datasets.load(dataset))


def test_a_prefix_keeps_order_and_digest():
    whole, part = datasets.load(Dataset()), datasets.load(Dataset(n_train=60))
    assert np.array_equal(part.train_images, whole.train_images[:60])
    assert np.array_equal(part.test_labels, whole.test_labels)
    assert datasets.digest(Dataset(n_train=60)) == datasets.digest_of(part)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.row("B15")
def test_the_digest_changes_with_a_pixel_a_label_and_the_order(data, split):
    images, labels = getattr(data, f"{split}_images"), getattr(data, f"{split}_labels")
    turned = replace(data, **{f"{split}_images": images[::-1], f"{split}_labels": labels[::-1]})
    others = [changed(data, split, "images", (7, 3, 3, 0)), changed(data, split, "labels", (7,)), turned]
    digests = {datasets.digest_of(d) for d in (data, *others)}
    assert len(digests) == 4


@pytest.mark.row("B15", control=True)
def test_the_digest_does_not_depend_on_layout_or_label_type(data):
    same = replace(data, train_images=np.asfortranarray(data.train_images), test_labels=data.test_labels.astype(np.uint8))
    assert datasets.digest_of(same) == datasets.digest_of(data)


def test_the_digest_covers_class_names_and_split(data):
    assert datasets.digest_of(replace(data, class_names=tuple("abcdefghij"))) != datasets.digest_of(data)
    moved = Data(data.train_images[:-1], data.train_labels[:-1], data.test_images, data.test_labels, data.class_names)
    assert datasets.digest_of(moved) != datasets.digest_of(data)


@pytest.mark.parametrize("name", ["train_images", "train_labels", "test_images", "test_labels"])
def test_a_shipped_source_that_changed_is_refused(monkeypatch, name):
    whole = datasets.digits.load()
    split, kind = name.split("_")
    other = changed(whole, split, kind, (5, 2, 2, 0) if kind == "images" else (5,))
    monkeypatch.setitem(datasets.SOURCES, "digits", replace(datasets.SOURCES["digits"], load=lambda: other))
    with pytest.raises(UsageError, match=r"^dataset digits: its images, labels or order changed \(digest "):
        datasets.load.__wrapped__(Dataset(n_train=50))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda d: {"train_labels": d.train_labels + 1}, r"train split: labels are 1 to 10; needed are 0 to 9"),
        (lambda d: {"test_labels": d.test_labels - 1}, r"test split: labels are -1 to 8; needed are 0 to 9"),
        (
            lambda d: {"train_labels": d.train_labels.astype(float)},
            r"train split: labels are float64 \(60,\); needed are integers",
        ),
        (lambda d: {"train_labels": d.train_labels[:-1]}, r"labels are int64 \(59,\); needed are integers \[60\]"),
        (lambda d: {"train_labels": d.train_labels[:, None]}, r"labels are int64 \(60, 1\); needed are integers \[60\]"),
        (lambda d: {"train_labels": d.train_labels * 0}, r"one class only in the training split"),
        (lambda d: {"test_images": d.test_images[..., 0]}, r"test split: images are uint8 \(20, 8, 8\)"),
        (lambda d: {"train_images": d.train_images / 255}, r"images are float64 \(60, 8, 8, 1\); needed are uint8"),
        (
            lambda d: {"train_images": d.train_images[:, :4]},
            r"images are uint8 \(60, 4, 8, 1\); needed are uint8 \[n, side, side",
        ),
        (lambda d: {"test_images": d.test_images[:, :4, :4]}, r"test images are \(4, 4, 1\), training images \(8, 8, 1\)"),
        (lambda d: {"test_images": d.test_images[:0], "test_labels": d.test_labels[:0]}, r"test split: labels are none"),
        (lambda d: {"class_names": ("all",)}, r"labels are 0 to 9; needed are 0 to 0"),
        (lambda d: {"train_labels": d.train_labels.tolist()}, r"train split: labels are a list; needed are arrays of numpy"),
    ],
)
def test_images_and_labels_that_break_a_rule_are_refused(data, change, wanted):
    with pytest.raises(UsageError, match=f"^dataset mine.*{wanted}"):
        datasets.check(replace(data, **change(data)), "mine")


@pytest.mark.parametrize("size", [{"n_train": 1001}, {"n_test": 798}])
def test_more_images_than_there_are_cannot_be_asked_for(size):
    name, asked = next(iter(size.items()))
    with pytest.raises(UsageError, match=f"^dataset digits: {name} = {asked}, but there are "):
        datasets.load(Dataset(**size))


def test_a_prefix_of_one_class_is_refused(own):
    name = own(OWN.replace("np.arange(60) % 3", "np.arange(60) // 20"))
    with pytest.raises(UsageError, match="one class only"):
        datasets.load(Dataset(source=f"{name}:load", n_train=15))


def test_a_dataset_of_ones_own_works_from_a_file_to_datamodels(own, lake, study_of, build_missing):
    name = own(OWN)
    recipe = {"name": "patchnet", "patch": 4, "stride": 4, "padding": 0, "widths": [4], "epochs": 2, "batch": 10}
    chosen = study_of(dataset={"source": f"{name}:load"}, algorithm=recipe)
    report = build_missing(lake, chosen)
    assert not report.failures
    own_images = {"examples": 1, "neighbours": 1}
    assert report.added == own_images | {"masks": 4, "margins": 4, "weights": 2, "predictions": 4, "fits": 4}
    assert [p.path for p in lake.present("examples")] == [f"examples/dataset={name}-load/images-00000.parquet"]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("cifar", "no dataset 'cifar': shipped are digits, cifar10; or name hub:owner/name"),
        ("no_such_module:load", "cannot load 'no_such_module:load' .*No module named"),
        ("OWN:nothing", "cannot load 'own.*:nothing' .*has no attribute 'nothing'"),
        ("OWN:number", "'own.*:number' is a int, not callable"),
        ("OWN:", "cannot load"),
        (":load", "cannot load ':load'"),
        ("..own:load", "cannot load"),
        ("math:pi", "'math:pi' is a float, not callable"),
        ("BROKEN:load", "cannot load 'own.*:load' .*SyntaxError"),
        ("RAISES:load", "cannot load 'own.*:load' .*ZeroDivisionError"),
        ("LIST:load", "returned a list; needed is builders.training.interface.Data"),
    ],
)
def test_a_source_that_cannot_be_loaded_is_refused_in_one_line(own, source, wanted):
    texts = {
        "OWN": OWN,
        "BROKEN": "def load(:",
        "RAISES": "1 / 0",
        "LIST": "def load():\n    return [1]",
    }
    kind, _, attribute = source.partition(":")
    source = f"{own(texts[kind])}:{attribute}" if kind in texts else source
    with pytest.raises(UsageError, match=wanted) as error:
        datasets.load(Dataset(source=source))
    assert "\n" not in str(error.value)


def test_the_current_folder_is_looked_in(own, monkeypatch, tmp_path):
    name = own(OWN)
    monkeypatch.setattr("sys.path", [p for p in sys.path if p != str(tmp_path)])
    assert datasets.load(Dataset(source=f"{name}:load")).n_classes == 3
