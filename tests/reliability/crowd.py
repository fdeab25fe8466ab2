"""Writers and readers of one lake: `python crowd.py write|write_straight|read ROOT TURNS SECONDS SEED`.

A writer takes so many turns, and goes on until the seconds are over; it prints the index of each partition that it
acknowledged. A reader looks until the file `stop` stands beside the lake, and prints how often, and every error.
"""

import itertools
import os
import random
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))

from world import content, masks

from lake.catalog import connect
from lake.content import content_hash
from lake.store import Lake

SPAN = 40
"""New names in play at a time: few enough that writers meet."""


def write(lake: Lake, turns: int, until: float, rng: random.Random, straight: bool = False) -> None:
    """Publish partitions at random places that move on."""
    for turn in itertools.count():
        if turn >= turns and time.monotonic() > until:
            return
        index = turn // 4 * SPAN // 10 + rng.randrange(SPAN)
        if straight:
            path = lake.root / masks(index)[0].path
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(masks(index, n_masks=20_000)[1], path, row_group_size=500)
        else:
            lake.publish(*masks(index))
        print(index, flush=True)


def read(lake: Lake, rng: random.Random) -> None:
    """Count and hash in a loop; print `looks N` and each thing that was wrong."""
    looks = 0
    while not lake.root.with_name("stop").exists() or not looks:
        try:
            present = list(lake.present("masks"))
            (rows,) = connect(lake.root).execute("select count(*) from masks").fetchone()
            if rows % 3 or rows < 3 * len(present):
                print(f"error: {rows} rows of {len(present)} partitions")
            for partition in rng.sample(present, min(3, len(present))):
                if content_hash(lake.read(partition)) != content(partition.index):
                    print(f"error: {partition.path} holds other rows")
            looks += bool(present)
        except Exception as error:
            print(f"error: {type(error).__name__}: {error}".splitlines()[0])
    print("looks", looks)


if __name__ == "__main__":
    what, root, turns, seconds, seed = sys.argv[1:]
    rng, until = random.Random(int(seed)), time.monotonic() + float(seconds)
    os.makedirs(root, exist_ok=True)
    if what == "read":
        read(Lake(root), rng)
    else:
        write(Lake(root), int(turns), until, rng, straight=what == "write_straight")
