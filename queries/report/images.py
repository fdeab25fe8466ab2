"""The images of a study: who they are, which of them have a page, and their files."""

from dataclasses import dataclass
from pathlib import Path

from queries.report.answers import Answers


@dataclass(frozen=True)
class Image:
    """An example of the study's dataset; `paged` says whether it has a page."""

    split: str
    id: int
    label: int
    paged: bool

    @property
    def key(self) -> str:
        """Name of its files."""
        return f"{self.split}-{self.id}"

    @property
    def name(self) -> str:
        """What it is called on pages."""
        return f"{'training' if self.split == 'train' else 'test'} image {self.id}"


Images = dict[tuple[str, int], Image]
_OF_STUDY = "dataset_id = (select dataset_id from studies where study_id = $study)"


def images_of(answers: Answers, most: int) -> Images:
    """Images of the study by split and id, test first; at most `most` of them get a page, as many of each split as can be."""
    found = answers.connection.execute(
        f"""select split, example_id, label, row_number() over (partition by split order by example_id) as place
        from examples where {_OF_STUDY} order by split, example_id""",
        {"study": answers.study},
    ).fetchall()
    paged = {(split, i) for split, i, _, _ in sorted(found, key=lambda row: row[3])[:most]}
    return {(split, i): Image(split, i, label, (split, i) in paged) for split, i, label, _ in found}


def write_images(answers: Answers, site: Path) -> None:
    """Write every image as it lies in the lake, `images/test-12.png`."""
    (site / "images").mkdir()
    found = answers.connection.execute(
        f"select split, example_id, image.bytes from examples where {_OF_STUDY}", {"study": answers.study}
    )
    while rows := found.fetchmany(1_000):
        for split, i, data in rows:
            (site / "images" / f"{split}-{i}.png").write_bytes(data)
