"""From the bytes of a flow to JSON, and from pydantic's errors to findings.

One finding per mistake: what pydantic says about each arm of a union, or about a key that is
missing because it was misspelt, is one mistake of the author.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError

from flowengine.events import Json
from flowengine.flow.document import Flow
from flowengine.flow.edge_model import OnDigits, OnIntent, OnWhen
from flowengine.flow.findings import Finding
from flowengine.flow.kind import Node
from flowengine.flow.models import FlowModel
from flowengine.flow.paths import at_index, at_key, path_of, root
from flowengine.flow.tools import HttpTool, KnowledgeTool, McpTool, PythonTool

Loc = tuple[str | int, ...]
deepest_nesting = 100
"""Levels of a document; deeper ones are refused before anything walks them."""


class _Object(dict[str, Json]):
    """A JSON object that remembers which of its keys were written twice."""

    doubles: tuple[str, ...] = ()


def read_json(source: str | bytes) -> tuple[Json, tuple[Finding, ...]]:
    """The JSON value of a source, or None with findings that say where it is broken."""
    try:
        text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
    except UnicodeDecodeError as error:
        message = f"The file is not UTF-8 (byte {error.start})."
        return None, (_error("bad_encoding", root, message, "Save it as UTF-8."),)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        message = f"{error.msg} (line {error.lineno}, column {error.colno})."
        return None, (_error("json_syntax", root, message, _advice(text, error)),)
    except (ValueError, RecursionError) as error:
        what = "It is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return None, (_error("json_syntax", root, f"{what}.", "Write plain JSON."),)
    if _depth(value) > deepest_nesting:
        message = f"It is nested deeper than {deepest_nesting} levels."
        return None, (_error("json_syntax", root, message, "Make it flatter."),)
    return value, tuple(_doubles(value, root))


def _object(pairs: list[tuple[str, Json]]) -> _Object:
    value = _Object(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        value.doubles = tuple(dict.fromkeys(key for key in keys if keys.count(key) > 1))
    return value


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON number")


def _depth(value: Json) -> int:
    depth, level = 0, [value]
    while level and depth <= deepest_nesting:
        depth += 1
        inside = [v for v in level if isinstance(v, (dict, list))]
        level = [x for v in inside for x in (v.values() if isinstance(v, dict) else v)]
    return depth


def _doubles(value: Json, path: str) -> Iterator[Finding]:
    if isinstance(value, dict):
        for key in getattr(value, "doubles", ()):
            message = f"The key {key!r} stands here twice; only the last counts."
            yield _error("duplicate_key", at_key(path, key), message, "Remove one of them.")
        for key, item in value.items():
            yield from _doubles(item, at_key(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _doubles(item, at_index(path, index))


def _advice(text: str, error: json.JSONDecodeError) -> str:
    rest = text[error.pos :].lstrip()
    before = text[: error.pos].rstrip()
    if not rest:
        return "The document ends too early: close what is open with ] or }."
    if rest[0] in "]}" and (before.endswith(",") or "trailing comma" in error.msg.lower()):
        return "Remove the comma before it."
    if rest.startswith(("//", "/*", "#")):
        return 'JSON has no comments: use "note".'
    if rest[0] == "'":
        return "Write strings in double quotes."
    if "','" in error.msg:
        return "Put a comma between the parts."
    if "':'" in error.msg:
        return "Put a colon after the key."
    return "Correct the JSON there."


# --- pydantic's errors ------------------------------------------------------------------------


def findings_of(
    error: ValidationError,
    document: Json,
    kinds: Mapping[str, type[Node]],
    top: type[FlowModel] = Flow,
) -> tuple[Finding, ...]:
    """What a ValidationError of a `top` means to the author, one finding per mistake."""
    groups: dict[Loc, list[tuple[Loc, Mapping[str, Any]]]] = {}
    lines: list[Mapping[str, Any]] = [*error.errors(include_url=False, include_input=False)]
    for line in lines:
        place, union = _real_place(line["loc"], line["type"], document)
        groups.setdefault(union if union is not None else (*place, "#"), []).append((place, line))
    found: list[tuple[Loc, Finding]] = []
    for mistakes in groups.values():
        longest = max(len(place) for place, _ in mistakes)
        deepest = [(place, line) for place, line in mistakes if len(place) == longest]
        keys = [mistake for mistake in deepest if mistake[1]["type"] in _about_keys]
        for place, line in keys or deepest[:1]:
            same = [mistake[1] for mistake in deepest]
            found.append((place, _finding(place, line, same, document, kinds, top)))
    return tuple(_without_echoes(found, document))


_about_keys = frozenset({"extra_forbidden", "missing"})


def _real_place(loc: Loc, kind: str, document: Json) -> tuple[Loc, Loc | None]:
    """The keys and indices of a `loc` that are in the document, and where a union was tried."""
    place: list[str | int] = []
    union: Loc | None = None
    value = document
    for position, part in enumerate(loc):
        if _has(value, part):
            value = value[part]
        elif not (position == len(loc) - 1 and kind.startswith("missing")):
            # The name of an arm of a union, or pydantic's mark for a key.
            if part != "[key]" and union is None:
                union = tuple(place)
            continue
        place.append(part)
    return tuple(place), union


def _finding(
    place: Loc,
    line: Mapping[str, Any],
    same: list[Mapping[str, Any]],
    document: Json,
    kinds: Mapping[str, type[Node]],
    top: type[FlowModel],
) -> Finding:
    kind, context = line["type"], line.get("ctx") or {}
    if kind == "extra_forbidden":
        known = _known_keys(place[:-1], document, kinds, top)
        return _unknown_key(place, str(place[-1]), known, "")
    if kind == "missing":
        message = f"The key {place[-1]!r} is missing."
        return _error("missing_key", path_of(place), message, f"Add {place[-1]!r}.")
    if "message" in context:
        return _own(place, kind, context, document)
    return _of_pydantic(place, kind, context, same, document)


def _own(place: Loc, kind: str, context: Mapping[str, Any], document: Json) -> Finding:
    """An error that one of our validators raised (see `flowengine.flow.types.wrong`)."""
    for part in (context.get("at"), context.get("key")):
        inside = value_at(document, place)
        if isinstance(part, int) or (isinstance(part, str) and isinstance(inside, dict)):
            place = (*place, part)
    known = tuple(context.get("known", ()))
    if kind == "unknown_key":
        return _unknown_key(place, str(place[-1]), known, context.get("fix", ""))
    fix = context.get("fix") or _choose_one(str(context.get("got", "")), known)
    return _error(kind, path_of(place), context["message"], fix)


def _unknown_key(place: Loc, key: str, known: tuple[str, ...], fix: str) -> Finding:
    return _error(
        "unknown_key", path_of(place), f"Unknown key {key!r}.", _choose_one(key, known, fix)
    )


def _choose_one(word: str, known: tuple[str, ...], otherwise: str = "") -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]!r}?"
    if otherwise:
        return otherwise
    return f"Known are {', '.join(sorted(known))}." if known else ""


_expected = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "an object",
    "model_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
    "is_instance_of": "an object",
}


def _of_pydantic(
    place: Loc,
    kind: str,
    context: Mapping[str, Any],
    same: list[Mapping[str, Any]],
    document: Json,
) -> Finding:
    path, name = path_of(place), place[-1] if place else "the document"
    shown = f"{name!r}" if isinstance(name, str) else f"item {name}"
    wanted = [_expected[line["type"]] for line in same if line["type"] in _expected]
    if kind in _expected and wanted:
        allowed = " or ".join(dict.fromkeys(wanted))
        got = _kind_of(value_at(document, place))
        return _error(
            "wrong_type", path, f"{shown} must be {allowed}, not {got}.", _in_quotes(wanted, got)
        )
    if kind == "literal_error":
        options = tuple(re.findall(r"'([^']*)'", str(context.get("expected", ""))))
        got = value_at(document, place)
        message = f"{shown} cannot be {got!r}; it is one of {', '.join(options)}."
        return _error("wrong_value", path, message, _choose_one(str(got), options))
    message = f"{shown} is not allowed: {_rule(kind, context)}."
    return _error("bad_value", path, message, "")


def _in_quotes(wanted: list[str], got: str) -> str:
    if got == "a number" and "a string" in wanted:
        return 'Write it in quotes; a duration is "25s".'
    if got == "a string" and wanted[0] in ("a number", "a whole number", "true or false"):
        return "Write it without quotes."
    return ""


def _rule(kind: str, context: Mapping[str, Any]) -> str:
    rules = {
        "greater_than_equal": "at least {ge}",
        "less_than_equal": "at most {le}",
        "too_short": "at least {min_length} of them",
        "too_long": "at most {max_length} of them",
        "string_too_short": "at least {min_length} characters",
        "string_too_long": "at most {max_length} characters",
        "string_pattern_mismatch": "it must look like {pattern}",
    }
    return rules[kind].format(**context) if kind in rules else kind.replace("_", " ")


def _kind_of(value: Json) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", str: "a string", list: "a list", _Object: "an object"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "a number")


def _has(value: Json, part: str | int) -> bool:
    """Whether an object has a key, or a list an index."""
    if isinstance(part, str):
        return isinstance(value, dict) and part in value
    return isinstance(value, list) and part < len(value)


def value_at(document: Json, place: Loc) -> Json:
    """The value at a place of a document; None when there is none."""
    for part in place:
        if not _has(document, part):
            return None
        document = document[part]
    return document


def _without_echoes(found: list[tuple[Loc, Finding]], document: Json) -> Iterator[Finding]:
    """Leave out a missing key that is there misspelt."""
    misspelt = {
        (place[:-1], near.group(1))
        for place, finding in found
        if finding.code == "unknown_key" and (near := re.match(r"Did you mean '(.*)'", finding.fix))
    }
    for place, finding in found:
        if finding.code != "missing_key" or (place[:-1], place[-1]) not in misspelt:
            yield finding


# --- which keys a part of the document may have ------------------------------------------------


def _known_keys(
    place: Loc, document: Json, kinds: Mapping[str, type[Node]], top: type[FlowModel]
) -> tuple[str, ...]:
    """The keys of the model that stands at a place."""
    model: type[FlowModel] | None = top
    annotation: Any = top
    value = document
    for part in place:
        value = value_at(value, (part,))
        if model is not None:
            annotation = _field_annotation(model, str(part))
        else:
            annotation = _inner(annotation)
        candidates = tuple(_models(annotation)) if not _is_container(annotation) else ()
        model = _pick(candidates, value, kinds)
    if model is None:
        return ()
    return tuple(info.alias or name for name, info in model.model_fields.items())


def _field_annotation(model: type[FlowModel], key: str) -> Any:
    for name, info in model.model_fields.items():
        if key == (info.alias or name):
            return info.annotation
    return None


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        arms = [_bare(arm) for arm in get_args(annotation) if arm is not type(None)]
        return arms[0] if len(arms) == 1 else annotation
    return annotation


def _is_container(annotation: Any) -> bool:
    return get_origin(_bare(annotation)) in (dict, list, tuple)


def _inner(annotation: Any) -> Any:
    arguments = get_args(_bare(annotation))
    return (
        (arguments[1] if get_origin(_bare(annotation)) is dict else arguments[0])
        if arguments
        else None
    )


def _models(annotation: Any) -> Iterator[type[FlowModel]]:
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, FlowModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _pick(
    candidates: tuple[type[FlowModel], ...], value: Json, kinds: Mapping[str, type[Node]]
) -> type[FlowModel] | None:
    """The model of a union that a value is meant for, as our validators pick it."""
    shape = value if isinstance(value, dict) else {}
    named = str(shape.get("kind", ""))
    if Node in candidates:
        return kinds.get(named, Node)
    if HttpTool in candidates:
        tools: dict[str, type[FlowModel]] = {
            "python": PythonTool,
            "mcp": McpTool,
            "knowledge": KnowledgeTool,
        }
        return tools.get(named, HttpTool)
    if OnIntent in candidates:
        return OnDigits if "digits" in shape else OnWhen if "when" in shape else OnIntent
    # Elsewhere the first key of a model tells it apart from the others.
    firsts = ((model, next(iter(model.model_fields), "")) for model in candidates)
    named_by = (model for model, first in firsts if first in shape)
    return next(named_by, candidates[0] if candidates else None)


def _error(code: str, path: str, message: str, fix: str) -> Finding:
    return Finding(code, "error", path, message, fix)
