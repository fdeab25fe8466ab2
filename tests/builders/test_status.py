"""Status: the documented JSON and nothing else, and numbers that add up on an empty, a half and a whole lake."""

import io
import json

import pytest
from rich.console import Console

from builders import prior, status
from builders.status import duration, size
from lake.tables import TABLES

KEYS = ["table", "planned", "present", "missing", "failed", "rows", "bytes", "predicted_seconds", "predicted_bytes"]
PLANNED = dict.fromkeys(TABLES, 0) | {
    **{"examples": 1, "neighbours": 1, "masks": 4, "margins": 4, "fits": 4, "weights": 2, "predictions": 4},
}
ROWS = {"examples": 80, "neighbours": 800, "masks": 52, "margins": 64, "fits": 200, "predictions": 24}

FAILING = """
    import numpy as np
    from builders.training.interface import Logits

    def prepare(data):
        def train(group):
            if {3, 20} & set(group.order_ids.tolist()) and group.role == "fit":
                raise RuntimeError("no")
            logits = [np.zeros((group.n_models, n, 10), np.float32) for n in (60, 20)]
            logits[1][group.order_ids == 40] = np.nan
            return Logits(*logits)
        return train
"""


def by_table(found: dict) -> dict[str, dict]:
    return {row["table"]: row for row in found["tables"]}


def test_the_json_has_the_documented_keys_and_nothing_else_is_on_stdout(built, command, study_file):
    ended = command("builders", "status", "--study", study_file(), "--lake", built.root, "--format", "json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert ended.err == ""
    assert list(found) == ["study", "fingerprint", "lake", "tables", "failures"]
    assert [list(row) for row in found["tables"]] == [KEYS] * len(TABLES)
    assert [row["table"] for row in found["tables"]] == list(TABLES)
    assert (found["study"], found["lake"], found["failures"]) == ("small", str(built.root), [])
    assert all(isinstance(row[key], int | float) for row in found["tables"] for key in KEYS[1:])
    assert all(key in status.__doc__ for key in (*KEYS, *found))


def test_an_empty_lake_has_everything_to_do_and_is_not_made_by_asking(lake, small):
    found = by_table(status.status(lake, small))
    assert {name: row["planned"] for name, row in found.items()} == PLANNED
    for row in found.values():
        assert (row["present"], row["missing"], row["failed"], row["rows"], row["bytes"]) == (0, row["planned"], 0, 0, 0)
    assert all(found[name]["predicted_seconds"] > 0 for name in ("examples", "masks", "margins", "fits"))
    assert found["margins"]["predicted_seconds"] == pytest.approx(64 * prior.model(small.algorithm, 30), abs=0.01)
    assert found["margins"]["predicted_bytes"] >= 64 * 2 * 80
    assert not lake.root.exists()


def test_what_an_empty_lake_will_take_is_near_what_it_then_takes(lake, study_of, build_missing):
    asked = study_of(dataset={"source": "digits"}, algorithm={"name": "patchnet", "epochs": 1}, models=16, curve=())
    expected = by_table(status.status(lake, asked))
    assert not build_missing(lake, asked).failures
    for name in ("masks", "margins", "fits", "weights", "predictions"):
        stored = sum(stat.size for stat in lake.present(name).values())
        assert stored / 3 < expected[name]["predicted_bytes"] < stored * 3, name


def test_a_cell_is_empty_where_nothing_is_expected_rather_than_zero(lake, small):
    found = status.status(lake, small)
    out = io.StringIO()
    Console(file=out, width=80).print(status.as_table(found))
    lines = {line.split()[0]: line.rstrip() for line in out.getvalue().splitlines() if line.strip()}
    assert lines["margins"].endswith(size(by_table(found)["margins"]["predicted_bytes"]))
    assert lines["neighbours"].endswith(" s")  # how large it will be is not said, how long it takes is


def test_a_whole_lake_has_nothing_to_do(built, small):
    found = by_table(status.status(built, small))
    for name, row in found.items():
        assert (row["planned"], row["present"], row["missing"]) == (PLANNED[name], PLANNED[name], 0)
        assert (row["predicted_seconds"], row["predicted_bytes"]) == (0, 0)
        assert row["bytes"] == sum(stat.size for stat in built.present(name).values())
    assert {name: row["rows"] for name, row in found.items() if name in ROWS} == ROWS


def test_a_half_built_lake_says_what_is_there_and_what_the_rest_costs(built, lake, small, study_of, build_missing):
    build_missing(lake, study_of(models=16, curve=[]))
    found = by_table(status.status(lake, small))
    assert {name: (row["present"], row["missing"]) for name, row in found.items() if row["planned"]} == {
        **{"examples": (1, 0), "neighbours": (1, 0), "masks": (2, 2), "margins": (2, 2)},
        **{"fits": (0, 4), "weights": (0, 2), "predictions": (0, 4)},
    }
    margins = found["margins"]
    assert margins["rows"] == 32
    assert margins["predicted_bytes"] == margins["bytes"]  # two missing partitions, as large as the two that are there
    seconds = sum(facts.seconds for facts in lake.facts(lake.present("margins")).values())
    assert margins["predicted_seconds"] == pytest.approx(seconds, abs=0.01)
    whole = sum(stat.size for stat in built.present("margins").values())
    assert margins["bytes"] + margins["predicted_bytes"] == pytest.approx(whole, rel=0.02)


def test_failures_are_counted_and_listed(own, lake, study_of, build_missing, command, study_file):
    algorithm = {"name": f"{own(FAILING)}:prepare"}
    build_missing(lake, study_of(algorithm=algorithm, curve=[]))
    found = status.status(lake, study_of(algorithm=algorithm, curve=[]))
    assert by_table(found)["margins"]["failed"] == 3
    assert found["failures"] == [
        {"partition": f"margins/study=small/fit-{i:05d}.parquet", "model_id": k, "mask_id": k, "status": s}
        for i, k, s in ((0, 3, "failed"), (1, 20, "failed"), (2, 40, "diverged"))
    ]
    ended = command("builders", "status", "--study", study_file(algorithm=algorithm, curve=[]), "--lake", lake.root)
    assert "diverged: model 40 in margins/study=small/fit-00002.parquet" in ended.out
    report = build_missing(lake, study_of(algorithm=algorithm, curve=[]))
    assert report.models == 0  # models that failed are given up, not tried at each build


def test_another_study_under_the_name_is_a_conflict(built, command, study_file):
    ended = command("builders", "status", "--study", study_file(seed=1), "--lake", built.root, "--format", "json")
    assert ended.code == 3
    assert ended.out == ""
    assert "seed: 0 -> 1" in ended.err


def test_the_table_fits_in_80_columns(lake, study_of):
    out = io.StringIO()
    large = study_of(models=5_000_000, partition_models=256, curve=[])
    Console(file=out, width=80).print(status.as_table(status.status(lake, study_of()) | {"lake": "data"}))
    Console(file=out, width=80).print(status.as_table(status.status(lake, large) | {"lake": "data"}))
    half = {
        "table": "interventions",
        "planned": 19_532,
        "present": 10_000,
        "missing": 9_532,
        "failed": 1_000,
        "rows": 6_754_000,
    }
    half |= {"bytes": 946_800, "predicted_seconds": 4e6, "predicted_bytes": 8e8}
    Console(file=out, width=80).print(status.as_table({"study": "digits", "lake": "data", "tables": [half]}))
    assert "1,111.1 h  800.0 MB" in " ".join(out.getvalue().split("6.8 M")[-1].split("\n")[0].split(" ")).replace("   ", "  ")
    assert "…" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "margins" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119.4, "119 s"), (120, "2.0 min"), (7199, "120.0 min"), (7200, "2.0 h"), (4e6, "1,111.1 h")],
)
def test_durations_for_people(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1.25e6, "1.2 MB"), (9e9, "9.0 GB"), (5e15, "5,000.0 TB")],
)
def test_sizes_for_people(n_bytes, text):
    assert size(n_bytes) == text
