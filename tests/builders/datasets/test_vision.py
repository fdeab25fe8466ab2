"""torchvision's datasets and folders of images: read as torchvision reads them, refusals in one line."""

import resource
import struct
import zlib

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from builders import datasets
from builders.study import Dataset
from lake.errors import LakeError, UsageError


def load(source: str, **options: object):
    return datasets.load.__wrapped__(Dataset(source=source, **options))


def bomb(side: int) -> bytes:
    """A PNG of one bit a pixel, all the same: 9,000 x 9,000 take 10 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((1 + -(-side // 8)) * min(side, 9_000)))
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def photos(tmp_path):
    """Two classes of three images, a wide and a grey one among them, in both splits."""
    for split in ("train", "test"):
        for c, name in enumerate(("left", "right")):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(3):
                image = np.full((8, 12 if i == 1 else 8, 3), 50 * i + 100 * c, np.uint8)
                Image.fromarray(image if i < 2 else image[..., 0]).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_a_folder_is_read_in_order_of_names_with_classes_from_its_folders(photos):
    found = load(f"folder:{photos}", side=4)
    assert found.class_names == ("left", "right")
    assert found.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.test_images.shape == (6, 4, 4, 3)
    assert found.test_images[:, 0, 0, 0].tolist() == [0, 50, 100, 100, 150, 200]


def test_grey_images_alone_have_one_channel(tmp_path):
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / split / name / "0.png")
    assert load(f"folder:{tmp_path}").train_images.shape == (2, 5, 5, 1)


def test_a_folder_of_other_shape_is_refused_in_one_line(photos, tmp_path):
    with pytest.raises(UsageError, match=r"images of 8 x 8, 12 x 8 pixels; needed are squares of one size: set `side`"):
        load(f"folder:{photos}")
    (photos / "test" / "left").rename(photos / "test" / "up")
    with pytest.raises(UsageError, match=r"classes are \['left', 'right'\] in train and \['right', 'up'\] in test"):
        load(f"folder:{photos}", side=4)
    with pytest.raises(UsageError, match=r"needed are images in train/CLASS/ and test/CLASS/ .*No such file") as error:
        load(f"folder:{tmp_path / 'nothing'}")
    assert "\n" not in str(error.value)


@pytest.mark.row("B13")
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<html>", "cannot identify image file"),
        (b"", "cannot identify image file"),
        (bomb(9_000), "an image of 9,000 x 9,000 pixels, more than 50,000,000"),
        (bomb(30_000), "could be decompression bomb DOS attack"),
    ],
    ids=["page", "empty", "large", "bomb"],
)
@pytest.mark.parametrize("side", [None, 4])
def test_a_file_that_is_no_image_or_opens_to_too_much_is_named_and_not_unpacked(photos, content, what, side, tally):
    (photos / "train" / "right" / "2.png").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=rf"train split: .*right/2\.png cannot be read \(.*{what}") as error:
        load(f"folder:{photos}", side=side)
    assert "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    tally(bad_tried=1, refused=1)


@pytest.mark.row("B13", control=True)
def test_an_image_of_few_bytes_is_unpacked_by_who_does_not_look(tmp_path):
    (tmp_path / "0.png").write_bytes(bomb(9_000))
    assert (tmp_path / "0.png").stat().st_size < 20_000
    with Image.open(tmp_path / "0.png") as image:
        assert np.asarray(image).nbytes == 81_000_000


@pytest.mark.parametrize("picks", ["train", "split"])
def test_a_dataset_of_torchvision_is_read_by_its_own_splits(monkeypatch, own_cache, picks):
    class Dots:
        classes = ("dark", "bright")

        def __init__(self, root, train=None, split=None, download=False):
            self.labels = [0, 1, 1] if (train or split == "train") else [1, 0]
            if not download:
                raise RuntimeError("not found")

        def __len__(self):
            return len(self.labels)

        def __getitem__(self, i):
            return Image.fromarray(np.full((4, 4), 255 * self.labels[i], np.uint8)), self.labels[i]

    class Split(Dots):
        def __init__(self, root, split="train", download=False):
            super().__init__(root, split=split, download=download)

    monkeypatch.setattr(torchvision.datasets, "Dots", Dots if picks == "train" else Split, raising=False)
    found = load("torchvision:Dots")
    assert (found.train_labels.tolist(), found.test_labels.tolist()) == ([0, 1, 1], [1, 0])
    assert (found.train_images[:, 0, 0, 0] == 255 * found.train_labels).all()
    assert found.class_names == ("dark", "bright")


def test_random_images_of_torchvision_itself_can_be_read(monkeypatch, own_cache):
    """A real class of torchvision on real files: EMNIST-style folders are not at hand, USPS's format is two lines."""
    import bz2
    import hashlib

    folder = own_cache / "torchvision"
    folder.mkdir(parents=True)
    entries = {}
    for split, n in (("train", 4), ("test", 3)):
        lines = [f"{1 + i % 2} " + " ".join(f"{j + 1}:{(i - 1.5) / 2:.3f}" for j in range(256)) for i in range(n)]
        (folder / f"{split}.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
        entries[split] = ["", f"{split}.bz2", hashlib.md5((folder / f"{split}.bz2").read_bytes()).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.USPS, "split_list", entries)
    found = load("torchvision:USPS")
    assert found.train_images.shape == (4, 16, 16, 1)
    assert found.test_labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("name", ["Nothing", "VisionDataset", "FakeData", "folder"])
def test_a_name_that_torchvision_does_not_have_is_refused(name):
    with pytest.raises(UsageError, match=f"^dataset torchvision:{name}: no dataset of torchvision with a train and a test"):
        load(f"torchvision:{name}")


def test_a_download_that_fails_is_one_line(monkeypatch, own_cache):
    def refuse(*args, **options):
        raise RuntimeError("Error downloading\nfrom every mirror")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", refuse)
    with pytest.raises(LakeError, match=r"^dataset torchvision:MNIST: not to be had \(Error downloading from every mirror\)"):
        load("torchvision:MNIST")
