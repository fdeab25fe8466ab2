"""The head of a query file: `-- key: value` lines that say what it asks, what it takes and what comes back.

    -- question: Which training examples raise the margin of a target the most?
    -- paper: Ilyas et al. 2022 section 4            (or `source:` where it is not from a paper)
    -- tables: weights, fits                          what it reads
    -- param: k integer 1..1000 = 10 : how many       name, type, range, default (none: it must be given), meaning
    -- param: split test|train = null : which half    words joined by | are the values allowed; null is a default too
    -- column: weight float [logit] : change of ...   name, type as DuckDB returns it, unit where there is one, meaning
    -- rows: a training example                       what one row is

The select follows, with each parameter as `$name`. Types: text, integer, bigint, double, float, boolean,
and for parameters integers: positions with commas between.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lake.errors import LakeError, UsageError

COLUMN_TYPES = {
    "text": "VARCHAR",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "float": "FLOAT",
    "boolean": "BOOLEAN",
}
"""Type words of a header and the names that DuckDB gives them."""

_PARAM = re.compile(r"(\w+) ([\w|]+)(?: (-?\d+)\.\.(-?\d+))?(?: = (\S+))? : (.+)")
_COLUMN = re.compile(r"(\w+) (\w+)(?: \[(.+?)\])? : (.+)")
_INTEGER_RANGES = {"integer": (-(2**31), 2**31 - 1), "bigint": (-(2**63), 2**63 - 1)}
_WORDS = {"true": True, "false": False}
_KINDS = {
    "double": "a finite number",
    "boolean": "true or false",
    "integers": "integers from 0 with commas between, such as 3,17",
}


@dataclass(frozen=True)
class Param:
    """A parameter of a query: `type` is a type word, or the values allowed joined by `|`."""

    name: str
    type: str
    bounds: tuple[int, int] | None
    default: str | None
    """Default as text, `null` for NULL; None when the parameter must be given."""
    meaning: str

    def value(self, text: str) -> Any:
        """The value of `text`, ready to be bound; UsageError says what was got and what is allowed."""
        if text == "null" and self.default == "null":
            return None
        if "|" in self.type:
            return self._check(text, text in self.type.split("|"), text)
        if self.type in _INTEGER_RANGES:
            low, high = self.bounds or _INTEGER_RANGES[self.type]
            number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else None
            return self._check(text, number is not None and low <= number <= high, number)
        if self.type == "integers":
            good = re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text) is not None
            return self._check(text, good, [int(part) for part in text.split(",")] if good else None)
        if self.type == "double":
            number = _real(text)
            return self._check(text, math.isfinite(number), number)
        if self.type == "boolean":
            return self._check(text, text in _WORDS, _WORDS.get(text))
        return self._check(text, _encodes(text), text)

    @property
    def allowed(self) -> str:
        """The values allowed, in words."""
        if "|" in self.type:
            kind = " or ".join(self.type.split("|"))
        elif self.type in _INTEGER_RANGES:
            low, high = self.bounds or _INTEGER_RANGES[self.type]
            kind = f"an integer from {low} to {high}"
        else:
            kind = _KINDS.get(self.type, "any text")
        return f"{kind}, or null" if self.default == "null" else kind

    def _check(self, text: str, good: bool, value: Any) -> Any:
        if not good:
            raise UsageError(f"parameter {self.name}: got {text!r}, allowed is {self.allowed} ({self.meaning})")
        return value


@dataclass(frozen=True)
class Column:
    """A column of a query's result."""

    name: str
    type: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Query:
    """A query file, parsed. `sql` is the whole file: the header is comments."""

    name: str
    theme: str
    question: str
    source: str
    tables: str
    params: tuple[Param, ...]
    columns: tuple[Column, ...]
    rows: str
    sql: str


def parse(path: Path) -> Query:
    """The query in the file `path`; LakeError names the line of the header that breaks the form."""
    sql = path.read_text("utf-8")
    lines = [line.removeprefix("-- ") for line in _header(sql)]
    split = [line.partition(": ") for line in lines]
    found = {key: value for key, _, value in split if key not in ("param", "column")}
    source = found.get("paper") or found.get("source")
    if not source or not found.keys() >= {"question", "tables", "rows"}:
        raise LakeError(f"{path}: the header needs question, paper or source, tables and rows; it has {', '.join(found)}")
    return Query(
        name=path.stem,
        theme=path.parent.name,
        question=found["question"],
        source=source,
        tables=found["tables"],
        params=tuple(_param(path, value) for key, _, value in split if key == "param"),
        columns=tuple(_column(path, value) for key, _, value in split if key == "column"),
        rows=found["rows"],
        sql=sql,
    )


def _header(sql: str) -> list[str]:
    """Comment lines before the first line of SQL."""
    lines = sql.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return lines[:end]


def _param(path: Path, text: str) -> Param:
    match = _PARAM.fullmatch(text)
    if match is None or ("|" not in match[2] and match[2] not in (*COLUMN_TYPES, "integers")):
        raise LakeError(f"{path}: param {text!r} is not of the form `name type [low..high] [= default] : meaning`")
    bounds = (int(match[3]), int(match[4])) if match[3] else None
    return Param(match[1], match[2], bounds, match[5], match[6])


def _column(path: Path, text: str) -> Column:
    match = _COLUMN.fullmatch(text)
    if match is None or match[2] not in COLUMN_TYPES:
        raise LakeError(
            f"{path}: column {text!r} is not of the form `name type [unit] : meaning`, type of {', '.join(COLUMN_TYPES)}"
        )
    return Column(match[1], match[2], match[3] or "", match[4])


def _encodes(text: str) -> bool:
    """Whether `text` is valid Unicode: bytes from a shell that are not come as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _real(text: str) -> float:
    """The number that `text` spells, NaN when it spells none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
