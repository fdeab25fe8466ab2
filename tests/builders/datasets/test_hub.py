"""Any image-classification dataset of the Hub: columns and classes found, sizes made one, refusals in one line."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import datasets, study
from builders.study import Dataset
from lake.errors import LakeError, UsageError

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (30, 6, 6, 3), dtype=np.uint8), np.arange(30) % 3


@pytest.fixture
def write(tmp_path, table):
    """Writes splits of 30 images under the given file names, and returns the folder."""

    def write(*names: str, change=lambda t: t, images=IMAGES, **options: object):
        for name in names:
            (tmp_path / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(change(table(images, LABELS, ("cat", "dog", "fox"), **options)), tmp_path / "repo" / name)
        return tmp_path / "repo"

    return write


def load(source: str, **options: object):
    return datasets.load.__wrapped__(Dataset(source=source, **options))


def test_pixels_labels_and_class_names_come_as_they_are(write, on_hub):
    on_hub(
        "ada/pets", write("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet", columns=("photo", "kind"))
    )
    found = load("hub:ada/pets")
    assert np.array_equal(found.train_images, IMAGES)
    assert np.array_equal(found.test_labels, LABELS)
    assert found.class_names == ("cat", "dog", "fox")


def test_a_repo_without_parquet_is_read_from_the_hubs_own_conversion(write, on_hub):
    on_hub("ada/pets", write("default/train/0000.parquet", "default/validation/0000.parquet"), branch="refs/convert/parquet")
    assert len(load("hub:ada/pets").test_labels) == 30


def test_a_revision_is_kept_to(write, on_hub):
    on_hub("ada/pets", write("train-0.parquet", "test-0.parquet"), branch="v1")
    assert len(load("hub:ada/pets@v1").train_labels) == 30
    with pytest.raises(LakeError, match=r"^dataset hub:ada/pets@v2: the Hub did not give it"):
        load("hub:ada/pets@v2")


def test_columns_are_known_without_a_description_and_classes_are_then_numbers(write, on_hub):
    plain = write("train-0.parquet", "test-0.parquet", change=lambda t: t.replace_schema_metadata(None))
    on_hub("ada/pets", plain)
    assert load("hub:ada/pets").class_names == ("0", "1", "2")


def test_images_are_cropped_and_resized_to_the_side_that_is_asked_for(write, on_hub):
    wide = np.zeros((30, 8, 16, 3), np.uint8)
    wide[:, :, 4:12] = 200  # what a square about the centre sees
    on_hub("ada/pets", write("train-0.parquet", "test-0.parquet", images=wide))
    with pytest.raises(UsageError, match=r"^dataset hub:ada/pets: images of 16 x 8 pixels; needed are squares .*set `side`"):
        load("hub:ada/pets")
    found = load("hub:ada/pets", side=4)
    assert found.train_images.shape == (30, 4, 4, 3)
    assert (found.train_images == 200).all()


@pytest.mark.parametrize(
    ("names", "change", "wanted"),
    [
        (["train-0.parquet"], lambda t: t, "no parquet files of a train and a test split on main"),
        (["train-0.parquet", "test-0.parquet"], lambda t: t.drop_columns("label"), "needed are an image and a class label"),
        (
            ["train-0.parquet", "test-0.parquet"],
            lambda t: t.set_column(0, "img", pa.array([{"bytes": b"no image"}] * 30)),
            "train-0.parquet cannot be read",
        ),
    ],
)
def test_what_is_no_image_classification_dataset_is_refused_in_one_line(write, on_hub, names, change, wanted):
    repo = on_hub("ada/pets", write(*names, change=change))
    repo.commit("refs/convert/parquet", {}, "nothing")
    with pytest.raises(UsageError, match=f"^dataset hub:ada/pets: .*{wanted}") as error:
        load("hub:ada/pets")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["ada/none", "not a name", "a/b/c"])
def test_a_repo_that_the_hub_does_not_give_is_one_line(fakehub, name):
    with pytest.raises(LakeError, match=f"^dataset hub:{name}: the Hub did not give it") as error:
        load(f"hub:{name}")
    assert "\n" not in str(error.value)
    assert "hf_" not in str(error.value)


def test_a_study_on_a_dataset_of_the_hub_builds_to_the_end(write, on_hub, lake, study_of, build_missing):
    on_hub("ada/pets", write("train-0.parquet", "test-0.parquet"))
    chosen = study_of(dataset={"source": "hub:ada/pets"}, algorithm={"name": "logistic"})  # which compiles nothing
    assert isinstance(chosen, study.Study)
    assert not build_missing(lake, chosen).failures
    assert [p.value for p in lake.present("examples")] == ["hub-ada-pets"]
