"""Fingerprints: a short, stable name for everything that changes a result.

A fingerprint is SHA-256 over canonical JSON. The encoder takes only values that read the same on every machine, so that an
object with an address in its repr, a set, or NaN is refused instead of giving a fingerprint that never matches again.
"""

import hashlib
import json
import math
from typing import Any


def canonical(value: Any) -> str:
    """Canonical JSON of str, bool, int, finite float, None, list, tuple and str-keyed dict; TypeError for anything else."""
    return json.dumps(_stable(value, "$"), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def fingerprint(value: Any) -> str:
    """First 16 hex digits (64 bits) of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def differences(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """One line a field that differs, `field: theirs -> ours`, nested fields by dotted name.

    Fields differ when their canonical forms do, so that a difference is named exactly when the fingerprints differ.
    """
    lines: list[str] = []
    for name in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(name), theirs.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{name}.")
            continue
        before, now = (repr(d[name]) if name in d else "absent" for d in (theirs, ours))
        if "absent" in (before, now) or canonical(a) != canonical(b):
            lines.append(f"{prefix}{name}: {before} -> {now}")
    return lines


def _stable(value: Any, where: str) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where} is {value}: only finite numbers have a fingerprint")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list | tuple):
        return [_stable(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {k: _stable(v, f"{where}.{k}") for k, v in value.items()}
    raise TypeError(f"{where} is a {type(value).__name__}: it has no form that is the same on every machine")
