"""JSON paths as findings show them: `$.nodes.welcome.say[0].text`, `$.lists['my list']`."""

from __future__ import annotations

import re

root = "$"


def at_key(path: str, key: str) -> str:
    """The path of a key of the object at `path`."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", key):
        return f"{path}.{key}"
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"{path}['{quoted}']"


def at_index(path: str, index: int) -> str:
    """The path of an item of the list at `path`."""
    return f"{path}[{index}]"


def path_of(place: tuple[str | int, ...]) -> str:
    """The path of a sequence of keys and indices from the document's root."""
    path = root
    for part in place:
        path = at_index(path, part) if isinstance(part, int) else at_key(path, part)
    return path
