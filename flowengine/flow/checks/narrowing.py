"""What a condition tells about which variables are set, once it held or once it did not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from flowengine.flow.checks.reads import expression_names

_not_known = re.compile(r"!\s*known\s*\(\s*([a-z][a-z0-9_]*)\s*\)")


@lru_cache(maxsize=8192)
def set_if_true(condition: str) -> frozenset[str]:
    """Names that are set when a condition holds: asked with `known`, or read.

    A condition that reads an unset variable is not true (rule 6), so every value that all its
    parts read is set. Only conditions of parts joined by `&&` are looked into.
    """
    if "||" in condition or "?" in condition:
        return frozenset()
    found: set[str] = set()
    for part in condition.split("&&"):
        if not _not_known.search(part):
            names = expression_names(part)
            found |= names.values | names.asked
    return frozenset(found)


@lru_cache(maxsize=8192)
def set_if_false(condition: str) -> frozenset[str]:
    """Names that are set when `!known(a) || !known(b)` does not hold; else nothing is told."""
    parts = [_not_known.fullmatch(part.strip()) for part in condition.split("||")]
    if not all(parts):
        return frozenset()
    return frozenset(match[1] for match in parts if match)


def set_after(failed: Iterable[str | None]) -> frozenset[str]:
    """Names that are set after none of these conditions held."""
    return frozenset().union(*(set_if_false(condition) for condition in failed if condition))
