"""The dataset card: `datasets` loads every table by it, people's own words in it stay, and it is pushed only when it changed."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import yaml

from lake import card
from lake.mirror import Request
from lake.partition import Partition
from lake.push import push
from lake.store import Lake
from lake.tables import TABLES

PATHS = ["masks/study=half/fit-00000.parquet", "margins/study=half/fit-00000.parquet"]


def header(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_a_new_card_has_a_configuration_for_each_table_with_files():
    text = card.merge("", "ada/lake", PATHS, {"half": "**half** is a study"})
    assert header(text)["configs"] == [
        {"config_name": "masks", "default": True, "data_files": "masks/*/*.parquet"},
        {"config_name": "margins", "data_files": "margins/*/*.parquet"},
    ]
    assert "# ada/lake" in text
    assert "**half** is a study" in text
    assert "num_examples" not in text
    assert card.merge(text, "ada/lake", PATHS, {"half": "**half** is a study"}) == text


def test_what_people_wrote_stays():
    written = "---\nlicense: cc-by-4.0\npretty_name: Digits\nconfigs: []\n---\n\n# My lake\n\nAsk Ada.\n"
    first = card.merge(written, "ada/lake", PATHS, {})
    assert header(first)["license"] == "cc-by-4.0"
    assert header(first)["pretty_name"] == "Digits"
    assert "# My lake\n\nAsk Ada." in first
    second = card.merge(first + "\nMore below.\n", "ada/lake", [*PATHS, "fits/study=half/lasso-00009-00000.parquet"], {})
    assert second.endswith("\nMore below.\n")
    assert second.count(card.START) == second.count(card.END) == 1
    assert [c["config_name"] for c in header(second)["configs"]] == ["masks", "margins", "fits"]


def test_studies_of_other_machines_stay():
    first = card.merge("", "ada/lake", PATHS, {"half": "**half**: ours"})
    both = [*PATHS, "masks/study=other/fit-00000.parquet"]
    second = card.merge(first, "ada/lake", both, {"other": "**other**: theirs"})
    assert "**half**: ours" in second
    assert "**other**: theirs" in second
    assert card.merge(second, "ada/lake", both, {"half": "**half**: ours"}) == second


@pytest.mark.parametrize("broken", ["---\n: [\n---\ntext", "---\n- a\n---\ntext", "---\nno end", "\x00"])
def test_a_broken_header_counts_as_text(broken):
    text = card.merge(broken, "ada/lake", PATHS, {})
    assert header(text)["configs"]
    assert broken.split("\n")[-1] in text


def test_every_column_is_a_declared_feature():
    datasets = pytest.importorskip("datasets")
    for name, table in TABLES.items():
        declared = datasets.Features._from_yaml_list(card.features(name))
        assert list(declared) == table.schema.names
        arrow = declared.arrow_schema
        for field in table.schema:
            ours = str(field.type).replace("element: ", "item: ").replace(" not null", "")
            assert str(arrow.field(field.name).type) == ours


def test_the_card_goes_up_once_and_again_only_when_it_changed(server, hub_of, sample_copy, tmp_path, rows_of, facts_of):
    repo, hub = server.repos["tester/lake"], hub_of()
    push(sample_copy, hub, Request(tables=("masks",)), print)
    push(sample_copy, hub, Request(tables=("margins",)), print)
    push(sample_copy, hub, Request(tables=("margins",)), print)
    assert [m for m in repo.messages if m.startswith("Describe")] == ["Describe the tables and studies"] * 2
    text = repo.tree["README.md"].data.decode()
    assert [c["config_name"] for c in header(text)["configs"]] == ["masks", "margins"]
    assert "**half** (fingerprint" in text

    other = Lake(tmp_path / "other-machine")
    partition = Partition("masks", "third", "fit", 0)
    other.publish(partition, rows_of(partition), facts_of(partition))
    push(other, hub_of(), Request(), print)
    text = repo.tree["README.md"].data.decode()
    assert all(f"**{study}** (fingerprint" in text for study in ("half", "other", "third"))


def test_a_card_written_meanwhile_is_merged(server, hub_of, sample_copy):
    repo, hub = server.repos["tester/lake"], hub_of()
    push(sample_copy, hub, Request(tables=("masks",)), print)
    edited = repo.tree["README.md"].data.decode().replace("# tester/lake", "# Ada's lake")

    def edit():
        hub.api.upload_file(
            path_or_fileobj=edited.encode(), path_in_repo="README.md", repo_id="tester/lake", repo_type="dataset"
        )

    server.meet("POST", "/commit/", lambda: server.meet("POST", "/commit/", edit))  # just before the card's own commit
    push(sample_copy, hub, Request(tables=("margins",)), print)
    text = repo.tree["README.md"].data.decode()
    assert "# Ada's lake" in text
    assert "margins/*/*.parquet" in text


def test_datasets_loads_every_table_of_the_mirror(server, hub_of, sample_copy, tmp_path):
    pytest.importorskip("datasets")
    push(sample_copy, hub_of(), Request(), print)
    script = """
        import json
        from datasets import load_dataset
        tables = {name: load_dataset("tester/lake", name, split="train") for name in %r}
        print(json.dumps({name: [rows.num_rows, rows.column_names] for name, rows in tables.items()}))
        print(json.dumps(load_dataset("tester/lake", split="train", streaming=True).take(1).column_names))
    """
    environment = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_secretsecret"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script % list(TABLES))],
        **{"capture_output": True, "text": True, "env": environment, "timeout": 120},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded, default = (json.loads(line) for line in done.stdout.splitlines())
    for name, table in TABLES.items():
        rows = sum(facts.rows for facts in sample_copy.facts(sample_copy.present(name)).values())
        assert loaded[name] == [rows, table.schema.names]
    assert default == TABLES["examples"].schema.names
