"""The mirror under many cuts of the network, and under two machines that push at once, round after round."""

import threading

import pytest

from lake.errors import LakeError
from lake.mirror import Request
from lake.partition import Partition
from lake.pull import pull
from lake.push import push
from lake.store import Lake
from lake.verify import verify


@pytest.fixture
def machine(tmp_path, hub_of, rows_of, facts_of):
    """Makes a machine: its lake, `put` for a partition of it, and `push` and `pull` to their exit codes."""

    class Machine:
        def __init__(self, name: str) -> None:
            self.lake = Lake(tmp_path / name)

        def put(self, index: int, n_train: int = 12) -> str:
            partition = Partition("masks", "half", "fit", index)
            self.lake.publish(partition, rows_of(partition, n_train), facts_of(partition))
            return partition.path

        def push(self) -> int:
            return self._end(push)

        def pull(self) -> int:
            return self._end(pull)

        def _end(self, work) -> int:
            self.lake.root.mkdir(parents=True, exist_ok=True)
            try:
                work(self.lake, hub_of(), Request(), lambda line: None).finish()
            except LakeError as error:
                return error.exit_code
            return 0

    return Machine


def here(machine) -> dict[str, str]:
    return {path: machine.lake.files.sha256(path) for path in machine.lake.files.list() if path.endswith(".parquet")}


def there(server) -> dict[str, str]:
    return {path: file.sha256 for path, file in server.repos["tester/lake"].tree.items() if path.endswith(".parquet")}


CUTS = [
    ("PUT", "/_lfs/", "request"),
    ("POST", "/commit/", "answer"),
    ("POST", "/preupload", "answer"),
    ("GET", "/tree/", "answer"),
]
CUTS += [("GET", "/resolve/", "answer"), ("GET", "/_lfs/", "answer"), ("HEAD", "/resolve/", "answer")]


def cut_everywhere(server, machine, places: list[int], tally) -> int:
    """How often the network was cut."""
    for method, pattern, what in CUTS:
        for at in places:
            name = f"{method}{pattern.strip('/')}{at}".replace("/", "")
            source, target = machine(f"a{name}"), machine(f"b{name}")
            server.repos["tester/lake"].__init__()
            sent = server.bytes_put
            for index in range(3):
                source.put(index)
            server.cut(method, pattern, **{what: at}, times=2)
            codes = [source.push(), source.push()]
            assert codes[-1] == 0
            size = sum(stat.size for path, stat in source.lake.files.list().items())
            assert server.bytes_put - sent <= size + 100_000  # the card; what had arrived is not sent again
            assert there(server) == here(source)
            codes = [target.pull(), target.pull()]
            assert codes[-1] == 0
            assert here(target) == here(source)
            assert verify(target.lake, deep=True) == []
            server.faults.clear()
            tally(faults_injected=2, survived=2, acknowledged=3, bytes_hashed=size)
    return len(CUTS) * len(places)


@pytest.mark.slow
@pytest.mark.row("R11")
def test_the_network_is_cut_at_thirty_places_of_every_kind_of_request(server, machine, tally):
    assert cut_everywhere(server, machine, [*range(0, 300, 20), *range(300, 3_300, 200)], tally) == 7 * 30


@pytest.mark.slow
@pytest.mark.row("R14")
@pytest.mark.case(43)
def test_two_machines_push_at_once_for_thirty_rounds(server, machine, tally):
    server.commit_seconds = 0.01
    a, b, codes = machine("a"), machine("b"), {}
    for turn in range(30):
        base = 10 * turn
        a.put(base)
        b.put(base + 1)  # apart
        a.put(base + 2)
        b.put(base + 2)  # the same
        if turn % 3 == 0:
            a.put(base + 3)
            b.put(base + 3, n_train=21)  # not the same
        threads = [threading.Thread(target=lambda m=m: codes.update({m: m.push()})) for m in (a, b)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        clashes = turn // 3 + 1
        assert set(codes.values()) <= {0, 3}
        assert 3 in codes.values()
        assert len(there(server)) == 3 * (turn + 1) + clashes
        own = {**here(b), **here(a)}
        assert all(sha in (here(a).get(path), here(b).get(path)) for path, sha in there(server).items())
        assert own.keys() == there(server).keys()
        tally(faults_injected=1, survived=1, named=turn % 3 == 0, acknowledged=len(own))
    last = machine("last")
    assert last.pull() == 0
    assert here(last) == there(server)
    assert verify(last.lake, deep=True) == []
