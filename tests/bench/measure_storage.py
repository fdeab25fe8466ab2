"""Storage: bytes a mask against the entropy bound, bytes a margin against 16 bit, and `status` on a very large lake."""

import hashlib
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_lake import digits_lake
from timing import Row, faster, in_turns

from builders import datasets, study
from lake.parquet import Facts, write
from lake.partition import Partition
from lake.tables import TABLES
from lake.verify import verify

FILES = 4_700
"""Partitions of a paper-sized lake: 300,000 models in partitions of 256, four tables."""


def mask_bytes_vs_entropy() -> Row:
    """Bytes a mask on disk, everything counted, against log2 C(n, k) / 8."""
    lake, n = digits_lake(), 1000
    files = {p: s for p, s in lake.present("masks").items() if p.role == "fit"}
    rows = sum(f.rows for f in lake.facts(files).values())
    bound = (math.lgamma(n + 1) - 2 * math.lgamma(n // 2 + 1)) / math.log(2) / 8
    ours = sum(s.size for s in files.values()) / rows
    column = _column_bytes(lake, files, "mask") / rows
    return faster(
        ours,
        bound,
        "entropy bound",
        "bytes a mask",
        note=f"the column alone: {column:.1f}; the rest is ids, footer and page index of {rows // len(files)} rows",
    )


def margin_bytes_vs_16_bit() -> Row:
    """Bytes a margin on disk, everything counted, against two."""
    lake = digits_lake()
    files = {p: s for p, s in lake.present("margins").items() if p.role == "fit"}
    rows = sum(f.rows for f in lake.facts(files).values())
    return faster(sum(s.size for s in files.values()) / rows / 1797, 2.0, "float16", "bytes a margin")


def _column_bytes(lake, files, name: str) -> int:
    import pyarrow.parquet as pq

    total = 0
    for partition in files:
        metadata = pq.read_metadata(lake.root / partition.path)
        groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
        total += sum(
            g.column(j).total_compressed_size
            for g in groups
            for j in range(g.num_columns)
            if g.column(j).path_in_schema == name
        )
    return total


def status_4700_partitions() -> Row:
    """Wall seconds of the whole command `status` on a lake of 4,700 partitions, against the goal of one second."""
    root = Path(tempfile.mkdtemp(prefix="bench-status-"))
    try:
        _large_lake(root)
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "builders",
                    "status",
                    "--lake",
                    root,
                    "--models",
                    str(FILES // 2 * 256),
                    "--format",
                    "json",
                ],
                check=True,
                capture_output=True,
            )
            seconds.append(time.perf_counter() - start)
        return faster(
            sorted(seconds[1:])[2],
            1.0,
            "goal of 1 s",
            "seconds",
            note=f"first time, footers not yet cached: {seconds[0]:.2f} s",
        )
    finally:
        shutil.rmtree(root)


def _large_lake(root: Path) -> None:
    """Small real partitions under the names of a large study: copies of one file cannot serve, footers name their file."""
    chosen = study.load("digits")
    identity = chosen.identity(datasets.digest(chosen.dataset))
    print_ = chosen.fingerprint(datasets.digest(chosen.dataset))
    rows = {name: TABLES[name].schema.empty_table() for name in ("masks", "margins")}
    for i in range(FILES // 2):
        for table, empty in rows.items():
            partition = Partition(table, "digits", "fit", i)
            path = root / partition.path
            path.parent.mkdir(parents=True, exist_ok=True)
            write(empty, TABLES[table], Facts(table, "digits", "fit", i, print_, identity, seconds=4.0), path)


def verify_vs_sha256() -> Row:
    """Wall seconds of `verify` on a lake against SHA-256 over the same files in one thread; the goal is 0.8."""
    lake = digits_lake()
    paths = [lake.root / path for path in lake.files.list() if path.endswith(".parquet")]

    def hashes() -> None:
        for path in paths:
            with path.open("rb") as source:
                hashlib.file_digest(source, "sha256").hexdigest()

    ours, peer = in_turns(lambda: verify(lake), hashes, clock=time.perf_counter)
    size = sum(path.stat().st_size for path in paths)
    return faster(ours, peer, "hashlib", "seconds", note=f"{len(paths)} files, {size / 1e6:.0f} MB")


BENCHES = {
    "mask_bytes_vs_entropy": mask_bytes_vs_entropy,
    "margin_bytes_vs_16_bit": margin_bytes_vs_16_bit,
    "status_4700_partitions": status_4700_partitions,
    "verify_vs_sha256": verify_vs_sha256,
}
