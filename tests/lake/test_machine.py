"""What the machine gives: at least a core, and no more memory than a container's limit."""

import os

import pytest

from lake import machine


def test_there_is_a_core():
    assert 1 <= machine.cores() <= os.cpu_count()


@pytest.mark.parametrize(("text", "expected"), [("max\n", None), ("1000000\n", 1_000_000), (str(2**62), None)])
def test_memory_is_that_of_the_machine_or_of_the_container(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "memory.max")
    whole = machine.memory()
    assert whole > 100_000_000
    machine.CGROUP.write_text(text)
    assert machine.memory() == (expected or whole)


def test_a_system_that_does_not_tell_has_a_laptop_s_memory(monkeypatch):
    monkeypatch.setattr(os, "sysconf_names", {})
    assert machine.memory() == machine.UNKNOWN_MEMORY
