"""DuckDB views over a lake: one a table, typed even when the table is empty, plus `partitions`, derived views and macros.

A step that several queries share is a derived view or a macro, so that each query stays one readable select: short ones are
in `DERIVED` and `MACROS`, longer ones a file each in `lake/macros/`, whose header says what one row is.

`connect` lists the lake once and pins the files it saw, so that a query never meets a half of a later build. `write_catalog`
puts the same views, over patterns, into `lake.duckdb` beside the tables: a file of views only, never a source of truth,
that any DuckDB shell opens. A connection for other people's SQL is locked: no file but the partitions it saw, no network,
extension or setting; and of statements `lake.reading` lets through those that read.
"""

import errno
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from lake.errors import CorruptError, LakeError, UsageError
from lake.remote_files import RemoteFiles
from lake.schema import Table
from lake.store import Lake
from lake.tables import TABLES

CATALOG = "lake.duckdb"
SPILL = ".tmp"
"""Where DuckDB puts what its memory does not hold, in the folder that a command runs in; it goes with the connection."""

_LONG = """select study_id, role, model_id, mask_id, init_id, repeat, '{split}' as split,
       unnest(range(len({split}_margin)))::integer as target_id, unnest({split}_margin) as margin
from margins where status = 'ok'"""

DERIVED = {
    "target_margins": (
        "one row is the margin of a model on a target: margins as long rows",
        " union all ".join(_LONG.format(split=split) for split in ("test", "train")),
    ),
    "studies": (
        "one row is a study, as the footers of its partitions describe it",
        """select study_id, min(identity->'dataset'->>'name') as dataset_id, min((identity->>'alpha')::double) as alpha,
       min(identity->>'design') as design, min(identity->>'margin') as margin, min(fingerprint) as fingerprint,
       count(distinct fingerprint) as n_fingerprints
from partitions where table_name not in ('examples', 'planted', 'neighbours') group by study_id""",
    ),
}
"""Views over the tables' views by name: what one row is, and the select."""

MACROS = {
    "clipped(margin)": "greatest(least(margin, 100), -100)",
    "included(mask, train_id)": "get_bit(mask::bit, train_id::integer) = 1",
    # average ranks minus their mean: places from below minus places from above; each list is sorted once
    "centred_ranks(numbers)": """list_transform([{up: list_sort(numbers), down: list_reverse_sort(numbers)}], lambda s:
        list_transform(numbers, lambda x: (list_position(s.up, x) - list_position(s.down, x)) / 2.0))[1]""",
    # the same with the i-th number standing there counts[i] times; quadratic, for the rare study that lost models
    "weighted_ranks(numbers, counts)": """list_transform(numbers, lambda x:
        list_sum(list_transform(numbers, lambda other, i: counts[i] * sign(x - other))) / 2.0)""",
    # of centred ranks: 0 when `predicted` is constant, NULL when `outputs` is
    "rank_correlation(predicted, outputs)": """case when list_dot_product(outputs, outputs) > 0 then coalesce(
        list_dot_product(predicted, outputs)
        / nullif(sqrt(list_dot_product(predicted, predicted) * list_dot_product(outputs, outputs)), 0), 0) end""",
    # 1 / LDS² is a line over 1 / number of models: its value for ever more of them, from two points; the smaller may be NULL
    "asymptote(m, y, fewer, of_fewer)": "if(y is null, null, coalesce(y - (of_fewer - y) / (1 / fewer - 1 / m) / m, y * 0))",
    # of two samples in 20 bins between their smallest and largest, p and q within 100, q at least 1e-5 (KLoM, arXiv 2410.23232)
    "binned_divergence(p, q)": """list_transform([list_concat(p, q)], lambda all_of: list_transform([[
            list_histogram(list_transform(numbers, lambda x: least(floor(20 * (clipped(x) - clipped(list_min(all_of)))
            / greatest(clipped(list_max(all_of)) - clipped(list_min(all_of)), 1e-9)), 19))) for numbers in [p, q]]],
        lambda h: list_sum(list_transform(map_entries(h[1]), lambda e: e.value / len(p)
            * ln(e.value / len(p) / greatest(coalesce(h[2][e.key], 0) / len(q), 1e-5)))))[1])[1]""",
    # Poisson(1) count from the first 32 bits of the key's MD5: the same in every version and on every machine
    "poisson(key)": """list_transform([('0x' || left(md5(key), 8))::ubigint / 4294967296.0], lambda u:
        (u > 0.367879441)::integer + (u > 0.735758882)::integer + (u > 0.919698603)::integer + (u > 0.981011843)::integer
        + (u > 0.996340153)::integer + (u > 0.999405815)::integer + (u > 0.999916759)::integer)[1]""",
}
"""Scalar macros by signature."""

STEPS = (
    "judged_masks",
    "asked_fits",
    "attributions",
    "leading_fits",
    "heldout_targets",
    "target_lds",
    "fit_lds",
    "left_out",
    "duplicate_pairs",
    "mean_weights",
    "label_scores",
    "removal_effects",
    "removal_drops",
    "removal_panels",
    "forgotten_outputs",
    "smallest_supports",
    "fit_counterfactuals",
    "fit_labels",
    "component_places",
    "labelled_clusters",
    "intervention_drops",
)
"""Files of lake/macros/ in an order in which each finds what it reads."""

_TYPES = {
    "string": "varchar",
    "binary": "blob",
    "int32": "integer",
    "int64": "bigint",
    "bool": "boolean",
    "halffloat": "float",
    "float": "float",
    "double": "double",
}


def connect(root: str | Path = "data", locked: bool = False) -> duckdb.DuckDBPyConnection:
    """In-memory DuckDB with a view a table over the files that are in the lake now, wherever it lives.

    `root` is a folder, an address such as s3://bucket/lake, or a mirror read in place: hf://datasets/owner/name@revision.
    `locked` shuts everything a stranger's SQL might reach: other files, the network, extensions, settings.
    """
    lake = Lake(root)
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    if connection.execute("select current_setting('enable_progress_bar')").fetchone() == (True,):
        connection.execute("set enable_progress_bar = false")  # else `python -c` finds it among the answers
    present = {name: lake.present(name) for name in TABLES}
    if isinstance(lake.files, RemoteFiles):
        every = {p.path: stat for found in present.values() for p, stat in found.items()}
        connection.register_filesystem(lake.files.pinned(every))
    files = {name: [lake.files.url(p.path) for p in found] for name, found in present.items()}
    patterns = {name: [_literal(path) for path in paths] for name, paths in files.items()}
    with naming_damage():
        create_views(connection, patterns)
    if locked:
        lock(connection, {path for named in (files, patterns) for paths in named.values() for path in paths})
    return connection


def create_views(connection: duckdb.DuckDBPyConnection, patterns: dict[str, list[str]]) -> None:
    """Create every view and macro of the catalog; `patterns` are the files of each table, none for one that is empty."""
    connection.begin()  # of a file, each statement would otherwise wait for the disk
    for name, spec in TABLES.items():
        _create_view(connection, spec, patterns[name])
    _create_partitions(connection, patterns)
    _create_derived(connection)
    connection.commit()


@contextmanager
def naming_lack() -> Iterator[None]:
    """Turn DuckDB's lack of memory, or of disk for what memory does not hold, into one line."""
    try:
        yield
    except duckdb.Error as error:
        if not isinstance(error, duckdb.OutOfMemoryException) and "No space left" not in str(error):
            raise
        free = shutil.disk_usage(Path.cwd()).free / 1e6
        raise LakeError(
            f"{str(error).splitlines()[0]} Memory is full, and {Path.cwd() / SPILL} has {free:,.1f} MB free for what it cannot"
            " hold: free some space, or ask for less (one study, fewer targets), then run the same command again"
        ) from error


@contextmanager
def naming_damage() -> Iterator[None]:
    """Turn DuckDB's complaint about a file that it cannot read into CorruptError, with the way to mend it; lack, too."""
    try:
        with naming_lack():
            yield
    except (duckdb.IOException, duckdb.InvalidInputException, duckdb.DataError) as error:
        deep = " DEEP=1" if isinstance(error, duckdb.DataError) else ""  # bytes that are whole hold values that cannot be
        raise CorruptError(f"{str(error).splitlines()[0]}. Run `make verify{deep}` to find every damaged file") from error


def lock(connection: duckdb.DuckDBPyConnection, files: set[str]) -> None:
    """From here on the connection opens these files and nothing else, and this cannot be undone.

    DuckDB knows no read-only folder: COPY could still replace one of the files, so statements go through lake.reading.
    """
    connection.execute(f"set allowed_paths = {_paths(sorted(files))}")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def write_catalog(root: str | Path) -> Path:
    """Write `lake.duckdb` anew beside the tables: views over patterns with absolute paths, so it opens from any folder."""
    lake = Lake(root)
    if not isinstance(lake.root, Path):
        raise UsageError(f"{lake.root} is not on this machine: a catalog file names local paths; use lake.connect instead")
    final = lake.root / CATALOG
    with lake.files.staging() as staged:
        with _naming_catalog(final), duckdb.connect(str(staged)) as connection:
            folders = {name: _literal(lake.files.url(name)) for name in TABLES if lake.present(name)}
            patterns = {name: [f"{folders[name]}/*/*.parquet"] if name in folders else [] for name in TABLES}
            create_views(connection, patterns)
        try:
            os.replace(staged, final)
        except IsADirectoryError as error:
            raise LakeError(
                f"{final} is a folder: move it away, then run the same again; the tables are as they were"
            ) from error
    return final


@contextmanager
def _naming_catalog(final: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:  # a damaged file, or a folder with a '?' in its name, which DuckDB reads as a URL's
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(final)) from error
        raise LakeError(f"{final} was not written ({str(error).splitlines()[0]}); the tables are as they were") from error


def _create_view(connection: duckdb.DuckDBPyConnection, spec: Table, files: list[str]) -> None:
    typed = ", ".join(f"null::{_sql_type(c.type)} as {c.name}" for c in spec.columns)
    names = ", ".join(c.name for c in spec.columns)
    body = (
        f"select {names} from read_parquet({_paths(files)}, hive_partitioning = false)"
        if files
        else f"select {typed} where false"
    )
    connection.execute(f"create or replace view {spec.name} as {body}")
    connection.execute(f"comment on view {spec.name} is {_text(f'one row is {spec.row}')}")
    for column in spec.columns:
        meaning = column.meaning + (f" [{column.unit}]" if column.unit else "")
        connection.execute(f"comment on column {spec.name}.{column.name} is {_text(meaning)}")


def _create_partitions(connection: duckdb.DuckDBPyConnection, files: dict[str, list[str]]) -> None:
    """The view `partitions`: one row a file, from the footers."""
    every = [path for paths in files.values() for path in paths]
    facts = "select null::varchar as file_name, null::json as facts where false"
    if every:
        facts = f"""select file_name, decode(value)::json as facts
        from parquet_kv_metadata({_paths(every)}) where decode(key) = 'lake'"""
    connection.execute(f"""
        create or replace view partitions as
        select facts->>'table' as table_name, facts->>'value' as study_id, facts->>'role' as role,
               (facts->>'index')::integer as index, (facts->>'rows')::bigint as rows,
               (facts->>'n_failed')::bigint as n_failed, (facts->>'seconds')::double as seconds,
               (facts->>'cpu_seconds')::double as cpu_seconds, facts->>'device' as device, facts->>'code' as code,
               facts->>'fingerprint' as fingerprint, facts->'identity' as identity, facts->>'content' as content, file_name
        from ({facts})""")
    connection.execute("comment on view partitions is 'one row is a file of the lake, as its footer describes it'")


def _create_derived(connection: duckdb.DuckDBPyConnection) -> None:
    for name, (meaning, body) in DERIVED.items():
        connection.execute(f"create or replace view {name} as {body}")
        connection.execute(f"comment on view {name} is {_text(meaning)}")
    for signature, body in MACROS.items():
        connection.execute(f"create or replace macro {signature} as {body}")
    for step in STEPS:
        _create_step(connection, (Path(__file__).parent / "macros" / f"{step}.sql").read_text("utf-8"))


def _create_step(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """Create what a file of lake/macros/ defines: it opens with `-- view: name` or `-- macro: name(args)`, then `-- rows:`."""
    kind, _, signature = text.splitlines()[0].removeprefix("-- ").partition(": ")
    connection.execute(f"create or replace {kind} {signature} as {'table ' if kind == 'macro' else ''}{text}")
    if kind == "view":
        meaning = text.splitlines()[1].removeprefix("-- rows: ")
        connection.execute(f"comment on view {signature} is {_text(f'one row is {meaning}')}")


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"struct({', '.join(f'{f.name} {_sql_type(f.type)}' for f in kind)})"
    return _TYPES[str(kind)]


def _literal(path: str) -> str:
    """A path as a pattern that matches it alone: DuckDB would read the lake `a 1` for a lake in `a [1]`."""
    return glob.escape(path)


def _paths(files: list[str]) -> str:
    return "[" + ", ".join(_text(f) for f in files) + "]"


def _text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"
