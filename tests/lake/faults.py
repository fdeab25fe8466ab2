"""Writers to be killed and writers that race, each a forked process: `python faults.py kill|race ROOT ...`.

Run by test_faults.py. Forked, because a child then starts in milliseconds with every library loaded; a script, because a
process that forks should hold no threads, and pytest's does.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake.catalog import write_catalog
from lake.errors import ConflictError
from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

Publish = Callable[[Lake, Partition, pa.Table, Facts], bool]


def masks(index: int, alpha: float = 0.5) -> tuple[Partition, pa.Table, Facts]:
    """A partition of 24 masks of 32,000 training examples each, about 95 kB on disk, the same for the same arguments."""
    partition = Partition("masks", "half", "fit", index)
    bits = np.random.default_rng(index).integers(0, 256, (24, 4_000), np.uint8)
    ids = range(24 * index, 24 * index + 24)
    columns = [["half"] * 24, ["fit"] * 24, ids, [alpha] * 24, ["bernoulli"] * 24, [row.tobytes() for row in bits]]
    schema = TABLES["masks"].schema
    rows = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    return partition, rows, Facts("masks", "half", "fit", index, fingerprint("half"), {"name": "half"}, code=f"alpha {alpha}")


def publish(lake: Lake, partition: Partition, rows: pa.Table, facts: Facts) -> bool:
    """The way of the lake; whether this call put the file there."""
    return lake.publish(partition, rows, facts).new


def publish_and_catalog(lake: Lake, partition: Partition, rows: pa.Table, facts: Facts) -> bool:
    """The way of the lake, and then its catalog file anew."""
    new = publish(lake, partition, rows, facts)
    write_catalog(lake.root)
    return new


def write_straight(lake: Lake, partition: Partition, rows: pa.Table, facts: Facts) -> bool:
    """The first control: write under the final name."""
    (lake.root / partition.path).parent.mkdir(parents=True, exist_ok=True)
    rows = pa.concat_tables([rows] * 24)  # so large that most of a writer's time goes into writing
    pq.write_table(rows, lake.root / partition.path, compression="none", row_group_size=12)
    return True


def write_and_replace(lake: Lake, partition: Partition, rows: pa.Table, facts: Facts) -> bool:
    """The second control: write elsewhere, then rename over the final name."""
    final, staged = lake.root / partition.path, lake.root / f"{os.getpid()}-{partition.name}"
    final.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, staged)
    os.replace(staged, final)
    return True


def kill(root: Path, rounds: int, seed: int, way: Publish) -> None:
    """`rounds` times: fork a writer, let it acknowledge 8 to 14 partitions, wait up to 15 ms more, and kill it.

    Prints the index of each partition that was acknowledged through the pipe before the kill.
    """
    rng = random.Random(seed)
    for number in range(rounds):
        told, tell = os.pipe()
        if (child := os.fork()) == 0:
            for index in range(1000 * number, 1000 * number + 1000):
                way(Lake(root), *masks(index))
                os.write(tell, index.to_bytes(4))
            os._exit(0)
        os.close(tell)
        heard = b"".join(os.read(told, 4) for _ in range(rng.randint(8, 14)))
        time.sleep(rng.uniform(0, 0.015))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(told, 4096):
            heard += more
        os.close(told)
        print(*(int.from_bytes(heard[i : i + 4]) for i in range(0, len(heard), 4)))


def race(root: Path, rounds: int, writers: int, way: Publish) -> None:
    """`rounds` times: all writers publish one name at once, in odd rounds each with other rows; print their outcomes."""
    context = get_context("fork")
    barrier, results = context.Barrier(writers), context.SimpleQueue()

    def write(writer: int) -> None:
        outcomes = ""
        for index in range(rounds):
            work = masks(index, 0.5 if index % 2 == 0 else 0.1 + writer / 10)
            barrier.wait(timeout=60)
            try:
                outcomes += "W" if way(Lake(root), *work) else "A"
            except ConflictError:
                outcomes += "C"
        results.put(outcomes)

    processes = [context.Process(target=write, args=(writer,)) for writer in range(writers)]
    for process in processes:
        process.start()
    for _ in processes:
        print(results.get())
    for process in processes:
        process.join()


if __name__ == "__main__":
    masks(0)  # what is loaded at first use, half a second of it, is loaded before the forks
    command, folder, count, number, chosen = sys.argv[1:]
    {"kill": kill, "race": race}[command](Path(folder), int(count), int(number), globals()[chosen])
