"""The canonical form of a document and the hash that names a published version.

Keys sorted, no spaces, UTF-8, numbers as JSON writes them, without `layout`, `label`, `note`:
what never changes what a flow does does not change its version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from flowengine.events import Json
from flowengine.ids import VersionHash

_idle_keys = frozenset({"label", "note"})
_exact_below = 2**53


def canonical_json(document: Mapping[str, Json]) -> bytes:
    """The canonical bytes of a flow document as written (not of the models' dump)."""
    return json.dumps(
        _without_idle(document),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    ).encode()


def version_hash(document: Mapping[str, Json]) -> VersionHash:
    """SHA-256 of the canonical form, in hex."""
    return VersionHash(hashlib.sha256(canonical_json(document)).hexdigest())


def _without_idle(document: Mapping[str, Json]) -> dict[str, Json]:
    """The document without what is only for people: on it, its nodes and its edges.

    Elsewhere `label`, `note` and `layout` are names like others (a variable, a header).
    """
    bare: dict[str, Json] = {}
    for key, value in document.items():
        if key == "layout" or key in _idle_keys:
            continue
        if key == "nodes" and isinstance(value, Mapping):
            bare[key] = {name: _bare_part(node) for name, node in value.items()}
        elif key == "edges" and isinstance(value, (list, tuple)):
            bare[key] = [_bare_part(edge) for edge in value]
        else:
            bare[key] = _plain(value)
    return bare


def _bare_part(part: Json) -> Json:
    if not isinstance(part, Mapping):
        return part
    return {key: _plain(value) for key, value in part.items() if key not in _idle_keys}


def _plain(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _exact_below:
        # JSON does not tell 2.0 from 2; a document that went through JavaScript has 2.
        return int(value)
    return value
