"""A build in a notebook session says at its start, and as it goes, what would be lost with the machine."""

import re

import pytest

from builders.hosted import SERVICES, service
from lake.mirror_state import Memory


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    for variable in SERVICES:
        monkeypatch.delenv(variable, raising=False)


def test_a_service_is_known_by_its_environment():
    assert service({"COLAB_RELEASE_TAG": "release-colab-20261101"}) == "Colab"
    assert service({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}) == "Kaggle"
    assert service({"COLAB_RELEASE_TAG": "", "HOME": "/root"}) == ""


@pytest.mark.case(37)
def test_what_no_mirror_has_is_counted_from_the_start(command, study_file, built_copy, contents, monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab-20261101")
    present = sorted(contents(built_copy))
    memory = Memory(built_copy.files.cache, "ada/lake@main")
    memory.base[present[0]] = "0" * 64
    memory.save()
    lost = built_copy.root / present[-1]
    lost.unlink()
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", built_copy.root, "--workers", 1)
    assert ended.code == 0, ended.err
    assert (
        f"Colab deletes this machine's disk with the session: {len(present) - 2} partition(s) here are nowhere else"
        in ended.err
    )
    assert [int(n) for n in re.findall(r"s left, ([0-9]+) partition\(s\) only here", ended.err)][-1] == len(present) - 1
    assert "MIRROR=owner/name" in ended.err


@pytest.mark.case(37)
def test_a_machine_that_keeps_its_disk_is_not_warned(command, study_file, built_copy):
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", built_copy.root, "--workers", 1)
    assert ended.code == 0
    assert "only here" not in ended.err
    assert "nowhere else" not in ended.err
    assert "nothing to do" in ended.out
