"""What a study asks for, what the lake has, and what is therefore missing. Nothing here writes or computes results."""

from dataclasses import dataclass

from builders import (
    comparisons,
    counterfactuals,
    datamodels,
    datasets,
    examples,
    interventions,
    margins,
    masks,
    neighbours,
    planted,
    prior,
    removals,
    structure,
    supports,
)
from builders.study import Study
from builders.unit import Builder, Unit
from lake.errors import ConflictError
from lake.files import Stat
from lake.fingerprint import differences, fingerprint
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

BUILDERS: tuple[Builder, ...] = (
    *(examples, planted, neighbours, masks, margins, datamodels),
    *(removals, counterfactuals, supports, structure, interventions, comparisons),
)
"""In order: what a builder needs is built by those before it."""


@dataclass(frozen=True)
class Inventory:
    """The lake as one study sees it: planned units, present partitions, and what each partition says of itself."""

    units: dict[str, list[Unit]]
    """Every planned unit by builder name."""
    files: dict[Partition, Stat]
    facts: dict[Partition, Facts]

    def missing(self, builder: str) -> list[Unit]:
        """Units of a builder of which a partition is not there."""
        return [unit for unit in self.units[builder] if not self._done(unit)]

    def _done(self, unit: Unit) -> bool:
        return all(p in self.files for p in unit.partitions)

    def seconds_a_row(self, builder: str, study: Study) -> float:
        """Measured seconds of one worker for each row of the builder's units; a prior where nothing was measured."""
        done = [unit for unit in self.units[builder] if self._done(unit)]
        rows = sum(unit.rows for unit in done)
        if rows:
            return sum(self.facts[p].seconds for unit in done for p in unit.partitions) / rows
        if builder in (counterfactuals.NAME, supports.NAME, interventions.NAME):  # larger subsets take longer
            return self.seconds_a_row(margins.NAME, study) / study.alpha
        return self._guess(builder, study)

    def _guess(self, builder: str, study: Study) -> float:
        n_train, n_test = datasets.sizes(study.dataset)
        match builder:
            case examples.NAME:
                return prior.examples(n_train, n_test)
            case neighbours.NAME:
                return prior.neighbours(n_train, n_test)
            case margins.NAME:
                return prior.model(study.algorithm, study.alpha * n_train)
            case datamodels.NAME:  # the last unit alone fits training examples too
                units = self.units[builder]
                seconds = (len(units) - 1) * prior.fits(study.estimators, n_train, n_test)
                return (seconds + prior.fits(study.estimators, n_train, n_train + n_test)) / sum(unit.rows for unit in units)
        return {masks.NAME: 1e-4}.get(builder, 4.5e-3)

    def predicted_seconds(self, builder: str, study: Study) -> float:
        """Seconds of one worker that the builder's missing units are expected to take."""
        return self.seconds_a_row(builder, study) * sum(unit.rows for unit in self.missing(builder))


def take_inventory(lake: Lake, study: Study) -> Inventory:
    """Plan, list and read footers. ConflictError when the lake holds another study or dataset under these names."""
    files = present(lake, study)
    inventory = Inventory({b.NAME: b.plan(study) for b in BUILDERS}, files, lake.facts(files))
    check_identity(study, inventory.facts)
    return inventory


def present(lake: Lake, study: Study) -> dict[Partition, Stat]:
    """Every partition of the study and of its dataset that stands in the lake."""
    owners = {table: owner(study, table) for b in BUILDERS for table in b.BUILDS}
    return {p: stat for table, owner in owners.items() for p, stat in lake.present(table, owner).items()}


def owner(study: Study, table: str) -> str:
    """Hive value of the study's partitions of a table: the name of its dataset, or its own."""
    return study.dataset.name if TABLES[table].hive_key == "dataset" else study.name


def check_identity(study: Study, facts: dict[Partition, Facts]) -> None:
    """ConflictError that names the fields in which partitions of this name differ from the study."""
    digest = datasets.digest(study.dataset) if facts else ""
    expected = {table: identity(study, table, digest) for table in {p.table for p in facts}}
    prints = {table: fingerprint(described) for table, described in expected.items()}
    for partition, found in facts.items():
        if found.fingerprint != prints[partition.table]:
            lines = "; ".join(differences(expected[partition.table], found.identity)) or "the rules of another version"
            what = TABLES[partition.table].hive_key
            raise ConflictError(
                f"{partition.path} was built by another {what} of this name. Different (lake -> now): {lines}. "
                "Nothing was changed: give your study another name, or use another folder with LAKE=..."
            )


def identity(study: Study, table: str, digest: str) -> dict[str, object]:
    """What the fingerprint of a partition of `table` is made of."""
    return (
        {"dataset": {"name": study.dataset.name, "digest": digest}}
        if TABLES[table].hive_key == "dataset"
        else study.identity(digest)
    )
