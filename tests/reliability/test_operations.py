"""B16: a lake and a plain dictionary go through the same random operations and kills, and agree after each of them."""

import os
import shutil
import tempfile
from contextlib import nullcontext, suppress
from functools import lru_cache
from pathlib import Path

import pytest
import world
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from shim import watched

from lake.content import content_hash
from lake.errors import ConflictError, CorruptError, LakeError
from lake.hub import Hub
from lake.migrate import migrate
from lake.mirror import Request
from lake.pull import pull
from lake.push import push
from lake.store import Lake
from lake.verify import quarantine, verify

NAMES = st.integers(0, 4)
masks, content = lru_cache(world.masks), lru_cache(world.content)
MADE, OTHER = 0.5, 0.25
"""What the plan gives a name, and what another program might."""


class Machine(RuleBasedStateMachine):
    """`model` says of each name whether its file is whole (the alpha it holds) or damaged (None)."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.lake = Lake(Path(tempfile.mkdtemp()) / "lake")
        self.lake.root.mkdir()
        self.model: dict[int, float | None] = {}
        self.moved: dict[int, tuple[int, float | None]] = {}  # of a renamed file: its own name, and what it was there
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda descriptor: None)

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.lake.root.parent)

    @rule(index=NAMES)
    def append(self, index: int) -> None:
        """Publish, for the first time or again."""
        Machine.steps += 1
        there = self.model.get(index, "absent")
        if there == MADE or there == "absent":
            assert self.lake.publish(*masks(index)).new is (there == "absent")
            self.model[index] = MADE
        else:
            with pytest.raises(ConflictError if there else LakeError):
                self.lake.publish(*masks(index))

    @rule(index=NAMES)
    def append_other_rows(self, index: int) -> None:
        """Another program's rows under the name."""
        Machine.steps += 1
        there = self.model.get(index, "absent")
        if there in (OTHER, "absent"):
            assert self.lake.publish(*masks(index, OTHER)).new is (there == "absent")
            self.model[index] = OTHER
        else:
            with pytest.raises(ConflictError if there else LakeError):
                self.lake.publish(*masks(index, OTHER))

    @rule(index=NAMES, nth=st.integers(1, 60))
    def killed_append(self, index: int, nth: int) -> None:
        """A kill at the nth call: the folder stays as it was at that moment."""
        Machine.steps += 1
        seen, aside = [], self.lake.root.with_name("at-the-kill")

        def before(call: str, path: Path) -> None:
            seen.append(call)
            if len(seen) == nth:
                shutil.copytree(self.lake.root, aside)

        try:
            with watched(self.lake.root, before):
                self.lake.publish(*masks(index))
        except LakeError:
            if self.model.get(index, MADE) == MADE:
                raise
        if aside.exists():
            shutil.rmtree(self.lake.root)
            aside.rename(self.lake.root)
        if index not in self.model and masks(index)[0] in self.lake.present("masks"):
            self.model[index] = MADE

    @rule(index=NAMES, where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip(self, index: int, where: float, bit: int) -> None:
        """One bit of a whole file turns."""
        if self.model.get(index):
            path = self.lake.root / masks(index)[0].path
            data = bytearray(path.read_bytes())
            data[int(where * len(data))] ^= 1 << bit
            path.write_bytes(data)
            self.model[index] = None

    @rule(index=NAMES, where=st.floats(0, 1, exclude_max=True))
    def cut(self, index: int, where: float) -> None:
        """A whole file is cut short."""
        if self.model.get(index):
            path = self.lake.root / masks(index)[0].path
            path.write_bytes(path.read_bytes()[: int(where * path.stat().st_size)])
            self.model[index] = None

    @rule(index=NAMES)
    def delete(self, index: int) -> None:
        """Somebody removes a file."""
        self.moved.pop(index, None)
        if self.model.pop(index, "absent") != "absent":
            (self.lake.root / masks(index)[0].path).unlink()

    @rule(index=NAMES, to=NAMES)
    def rename(self, index: int, to: int) -> None:
        """Somebody gives a file another's name, or its own back."""
        if index in self.model and to not in self.model:
            (self.lake.root / masks(index)[0].path).rename(self.lake.root / masks(to)[0].path)
            own, was = self.moved.pop(index, (index, self.model[index]))
            del self.model[index]
            self.model[to] = was if own == to else None
            if own != to:
                self.moved[to] = own, was

    @rule()
    def set_damage_aside(self) -> None:
        """`make verify QUARANTINE=1`: the damaged files count as missing, and their bytes are kept."""
        kept = quarantine(self.lake, verify(self.lake))
        assert kept.keys() == {masks(i)[0].path for i, state in self.model.items() if state is None}
        assert all((self.lake.root / path).is_file() for path in kept.values())
        self.model, self.moved = {i: state for i, state in self.model.items() if state is not None}, {}

    @rule()
    def sweep(self) -> None:
        """Leftovers of the killed go."""
        self.lake.files.sweep()
        assert not list((self.lake.root / ".staging").glob("*"))

    @rule()
    def migrate(self) -> None:
        """`python -m lake migrate`: what is whole goes over, each file with its rows; this lake stays as it is."""
        new = Lake(self.lake.root.with_name("new"))
        with pytest.raises(LakeError) if None in self.model.values() else nullcontext():
            migrate(self.lake, new)
        went = {p.index: content_hash(new.read(p)) for p in new.present("masks")}
        assert went.items() <= {index: content(index, state) for index, state in self.model.items() if state}.items()
        assert None in self.model.values() or went.keys() == self.model.keys()
        shutil.rmtree(new.root, ignore_errors=True)

    @rule(text=st.sampled_from([b"", b"{}", b"\x00" * 300, b"garbage\n{"]))
    def garble_the_cache(self, text: bytes) -> None:
        """The footer cache may hold anything."""
        (self.lake.root / ".lake").mkdir(exist_ok=True)
        (self.lake.root / ".lake" / "footers").write_bytes(text)

    @invariant()
    def agree(self) -> None:
        """Names, damage and contents are those of the model."""
        assert {p.index for p in self.lake.present("masks")} == self.model.keys()
        problems = {p.path for p in verify(self.lake)}
        assert problems == {masks(i)[0].path for i, state in self.model.items() if state is None}
        whole = {masks(i)[0]: content(i, state) for i, state in self.model.items() if state}
        facts = self.lake.facts({p: s for p, s in self.lake.present("masks").items() if p in whole})
        assert {p: f.content for p, f in facts.items()} == whole


class Mirrored(Machine):
    """The same, with a mirror: nothing whole is lost there, nothing damaged gets there, nothing here is overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.server = FakeHub()
        self.server.__enter__()
        self.server.repos["tester/lake"] = Repo()

    def teardown(self) -> None:
        self.server.__exit__()
        super().teardown()

    def there(self) -> dict[str, str]:
        """SHA-256 of the mirror's partitions."""
        tree = self.server.repos["tester/lake"].tree
        return {path: file.sha256 for path, file in tree.items() if path.endswith(".parquet")}

    def here(self, whole: bool = False) -> dict[str, str]:
        """SHA-256 of the lake's partitions, or of those that are whole."""
        kept = [masks(i)[0].path for i, state in self.model.items() if state or not whole]
        return {path: self.lake.files.sha256(path) for path in kept}

    def _move(self, work) -> None:
        hub = Hub("tester/lake", api=HfApi(endpoint=self.server.url, token="hf_x"), pause=lambda seconds: None)
        with suppress(LakeError):  # a conflict, or a damaged file that is left
            work(self.lake, hub, Request(), lambda line: None).finish()

    @rule()
    def push(self) -> None:
        """`make push`."""
        before, here = self.there(), self.here(whole=True)
        self._move(push)
        after = self.there()
        assert before.keys() | here.keys() == after.keys()
        assert all(sha in (before.get(path), here.get(path)) for path, sha in after.items())

    @rule()
    def pull(self) -> None:
        """`make pull`."""
        before, there = self.here(), self.there()
        self._move(pull)
        for index in range(5):
            path = masks(index)[0].path
            if path not in before and path in there:
                held = content_hash(self.lake.read(masks(index)[0]))
                self.model[index] = MADE if held == content(index) else OTHER
                assert held == content(index, self.model[index])
        assert self.here() == {**there, **before}


class _Blind(Machine):
    """The control: a machine that forgets a flipped bit."""

    @rule(index=NAMES)
    def flip_unseen(self, index: int) -> None:
        """Damage that the model does not hear of."""
        if self.model.get(index):
            path = self.lake.root / masks(index)[0].path
            path.write_bytes(path.read_bytes()[:-1] + b"X")


def _explore(machine: type[Machine], examples: int, steps: int, **options: object) -> None:
    fixed = {"deadline": None, "derandomize": True, "database": None}
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps, **fixed, **options))


@pytest.mark.row("B16")
def test_random_operations_leave_lake_and_model_in_agreement(tally):
    Machine.steps = 0
    _explore(Machine, 60, 30)
    tally(acknowledged=Machine.steps)
    assert Machine.steps >= 50  # publishes tried; how many is a matter of where the tests lie


@pytest.mark.slow
@pytest.mark.row("B16")
def test_very_many_random_operations(tally):
    Machine.steps = 0
    _explore(Machine, 5_000, 60)
    tally(acknowledged=Machine.steps)
    assert Machine.steps > 20_000


@pytest.mark.parametrize(
    ("examples", "steps", "fewest"), [(10, 20, 20), pytest.param(300, 40, 500, marks=pytest.mark.slow)], ids=["few", "many"]
)
@pytest.mark.row("B16")
def test_random_operations_with_a_mirror(tally, examples, steps, fewest):
    Machine.steps = 0
    _explore(Mirrored, examples, steps)
    tally(acknowledged=Machine.steps)
    assert Machine.steps > fewest


@pytest.mark.row("B16", control=True)
def test_a_model_that_misses_damage_does_not_agree():
    """The control."""
    with pytest.raises((AssertionError, CorruptError)):
        _explore(_Blind, 25, 25, phases=[Phase.generate])  # which is the shortest way there is all one
