"""The dataset card: the README.md by which the Hub's viewer and `datasets` read the mirror, made from lake/tables.py.

Each table is a configuration with explicit files, because readers otherwise guess splits from names and mix tables; its
features are declared, so that a column which only newer files have is NULL in the older ones. Counts are left out: a card
that states them goes stale with the next push, and `datasets` then refuses to load. What people wrote into the card outside
the marked part, and their own keys of its header, stay; so do studies that only another machine knows, and what a machine with
all of a study's partitions said of it. Pictures and the catalog are pushed with the card, when a key in it changes.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import yaml
from huggingface_hub import CommitOperationAdd

from lake import shared_catalog, showcase
from lake.dictionary import markdown
from lake.errors import CorruptError
from lake.hub import TRIES, Entry, Hub, Unsure
from lake.mirror_state import Memory
from lake.partition import Partition, parse_path
from lake.store import Lake
from lake.tables import TABLES

FILE = "README.md"
START, END = "<!-- lake: made by `make push`; write above or below this part -->", "<!-- /lake -->"
_PICTURE = re.compile(r"<!-- picture: (?P<path>\S+) (?P<key>\w+) -->")
_CATALOG = re.compile(r"<!-- catalog: \w+ -->")
_STUDY = re.compile(r"<!-- study: (?P<name>[a-z0-9-]+) -->\n(?P<text>.*?)\n<!-- /study -->", re.DOTALL)

_BODY = """{start}
## Reading it

```python
from datasets import load_dataset

margins = load_dataset("{repo}", "margins", split="train")  # one split: roles and halves are columns
```

Without installing anything but DuckDB (1.3 or newer, which fetches its httpfs extension by itself):

```sql
select status, count(*) from 'hf://datasets/{repo}/margins/*/*.parquet' group by status;

attach 'https://huggingface.co/datasets/{repo}/resolve/main/lake.duckdb' as lake (read_only);  -- views and macros, no data
use lake;
select fit, lds_repeats, ceiling from fit_lds(null, 'test', null, 200) order by lds_repeats desc;
```

(A private repo, or many requests, need `create secret (type huggingface, token '...')` first.)
<!-- catalog: {catalog} -->

With the [datamodels lake](https://arxiv.org/abs/2202.00622)'s own views, macros and queries, without pulling the files:

```python
from lake import connect

connect("hf://datasets/{repo}").sql("from studies")
```

## Studies

A study is one experiment: models trained on random subsets of a dataset, and a sparse linear map from subset to margin for
every image. The sign of a weight: positive means that including the training example raises the target's margin.

{studies}

## Tables

{tables}
{end}"""


def push(
    lake: Lake, hub: Hub, memory: Memory, head: str, there: Iterable[str], entry: Entry | None, say: Callable[[str], None]
) -> str:
    """Commit the card, with its pictures and the catalog, when it lacks something; return the new head.

    It is merged, never overwritten, however often others are faster. `there` are the paths of the mirror.
    """
    paths = set(there)
    if not any(map(parse_path, paths)):
        return head
    try:
        told = described(lake, paths)
    except CorruptError as error:
        told = {}
        say(f"the card keeps what it says of the studies: {error}")
    for attempt in range(TRIES):
        try:
            if attempt:
                head = hub.head()
                entry = hub.look(head, [FILE]).get(FILE)
            old = _read(hub, memory, head, entry)
            new = merge(old, hub.repo, paths, {n: d.shown.text for n, d in told.items() if d.whole or n not in _told(old)})
            files = {**({FILE: new.encode()} if new != old else {}), **_beside(lake, hub.repo, told, old, new, paths)}
            if not files:
                return head
            added = [CommitOperationAdd(path, data) for path, data in files.items()]
            head = hub.commit(added, head, "Describe the tables and studies")
            memory.texts = {_blob(new): new}
            say(f"push card            {', '.join(files)}")
            return head
        except Unsure as unsure:
            hub.wait(unsure, attempt)
    raise hub.gave_up()


def merge(old: str, repo: str, paths: Iterable[str], studies: dict[str, str]) -> str:
    """The card `old` with its made part made anew for the partitions at `paths`, and everything else kept.

    `studies` are descriptions by name; those that only the old card has stay.
    """
    head, body = _split(old)
    partitions = [p for p in map(parse_path, paths) if p is not None]
    known = _told(body) | studies
    names = sorted({p.value for p in partitions if TABLES[p.table].hive_key == "study"})
    told = "\n\n".join(f"<!-- study: {n} -->\n{known.get(n, f'**{n}**')}\n<!-- /study -->" for n in names)
    catalog = shared_catalog.key(repo, {p.table for p in partitions})
    made = _BODY.format(start=START, end=END, repo=repo, studies=told, tables=markdown(), catalog=catalog)
    before, found, after = body.partition(START)
    after = after.partition(END)[2] if found else ""
    text = (
        f"{before}{made}{after}" if found else f"{before.rstrip()}\n\n{made}\n" if before.strip() else f"# {repo}\n\n{made}\n"
    )
    return f"---\n{yaml.safe_dump(_header(head, partitions), sort_keys=False, allow_unicode=True)}---\n\n{text.lstrip()}"


class Described(NamedTuple):
    """What this lake says of a study, and whether it has every partition of it that the mirror has."""

    shown: showcase.Shown
    whole: bool


def described(lake: Lake, there: Iterable[str]) -> dict[str, Described]:
    """What each study of the lake is, by name, from the footer of one of its partitions and from its figures."""
    present = {table: lake.present(table) for table in TABLES}
    first: dict[str, Partition] = {}
    for table in ("masks", "margins", "fits"):
        for partition in present[table]:
            first.setdefault(partition.value, partition)
    facts = lake.facts({p: present[p.table][p] for p in first.values()})
    lacking = {p.value for p in map(parse_path, there) if p and p not in present[p.table]}
    return {p.value: Described(showcase.show(lake, present, f), p.value not in lacking) for p, f in facts.items()}


def features(table: str) -> list[dict[str, Any]]:
    """The columns of a table in the form of a card's `dataset_info`."""
    return [{"name": field.name, **_feature(field)} for field in TABLES[table].schema]


def _header(head: dict[str, Any], partitions: list[Partition]) -> dict[str, Any]:
    """The YAML header: people's own keys as they are, configurations and features from the tables that have files."""
    tables = [name for name in TABLES if any(p.table == name for p in partitions)]
    configs = [
        {"config_name": name, **({"default": True} if name == tables[0] else {}), "data_files": f"{name}/*/*.parquet"}
        for name in tables
    ]
    info = [{"config_name": name, "features": features(name)} for name in tables]
    ours = {"license": "mit", "tags": ["datamodels", "data-attribution"]}
    return {**ours, **head, "configs": configs, "dataset_info": info}


def _feature(field: pa.Field) -> dict[str, Any]:
    kind = field.type
    if pa.types.is_list(kind):
        return {"list": _name(kind.value_type)}
    return {"dtype": "image" if pa.types.is_struct(kind) else _name(kind)}


def _name(kind: pa.DataType) -> str:
    return {"halffloat": "float16", "float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _told(card: str) -> dict[str, str]:
    """What a card says of each study, by name."""
    return {match["name"]: match["text"] for match in _STUDY.finditer(card)}


def _beside(lake: Lake, repo: str, told: dict[str, Described], old: str, new: str, paths: set[str]) -> dict[str, bytes]:
    """Files that the card `new` speaks of and the mirror lacks, or has for another key."""
    pictures = {path: data for each in told.values() for path, data in each.shown.pictures.items()}
    wanted = {m["path"]: m[0] for m in _PICTURE.finditer(new)}
    files = {p: pictures[p] for p, mark in wanted.items() if p in pictures and (p not in paths or mark not in old)}
    mark = _CATALOG.search(new)
    if mark and (shared_catalog.FILE not in paths or mark[0] not in old):
        files[shared_catalog.FILE] = shared_catalog.make(lake, repo, {p.table for p in map(parse_path, paths) if p})
    return files


def _split(card: str) -> tuple[dict[str, Any], str]:
    """Header and body of a card; a header that is no YAML mapping counts as text."""
    match = re.match(r"---\r?\n(.*?)\r?\n---\s*\r?\n?", card, re.DOTALL)
    if not match:
        return {}, card
    try:
        head = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return {}, card
    return (head, card[match.end() :]) if isinstance(head, dict) else ({}, card)


def _read(hub: Hub, memory: Memory, head: str, entry: Entry | None) -> str:
    """The card at `head`, fetched only when its blob is not the one of last time."""
    if entry is None:
        return ""
    blob = entry.sha256.removeprefix("git:")
    if blob not in memory.texts:
        memory.texts = {blob: hub.read(FILE, head)}
    return memory.texts[blob]


def _blob(text: str) -> str:
    """Git's id of a file with this text."""
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
