"""Walk any model of the language and find what its fields refer to, with the JSON path.

One walker serves the compiler, the checks, rename in the editor and the usage list: it reads the
markers of `flowengine.flow.types` beside the annotations, so a new node kind needs no entry here.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ForwardRef, Union, get_args, get_origin

from pydantic import BaseModel

from flowengine.events import Json
from flowengine.flow.paths import at_index, at_key
from flowengine.flow.types import Marker, is_by_try


@dataclass(frozen=True, slots=True)
class Found:
    """One marked value in a document: where it is, what it means, the value as written."""

    path: str
    marker: Marker
    value: Any


def references(model: BaseModel, path: str) -> Iterator[Found]:
    """Every marked value in `model`, whose own JSON path is `path`, in document order.

    A Text is found whole, then the templates and guards inside it; so is JSON with templates.
    Keys that are names (`save`) are found at the path of their value.
    """
    for name, (key, annotation) in _fields(type(model)).items():
        value = getattr(model, name)
        if value is not None:
            yield from _walk(value, annotation, at_key(path, key))


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, tuple[str, Any]]:
    fields = {}
    for name, info in model.model_fields.items():
        annotation: Any = info.annotation
        markers = [item for item in info.metadata if isinstance(item, Marker)]
        if markers:
            annotation = Annotated[annotation, markers[0]]
        fields[name] = (info.alias or name, annotation)
    return fields


def _walk(value: Any, annotation: Any, path: str) -> Iterator[Found]:
    if value is None or isinstance(annotation, (str, ForwardRef)):
        return
    if isinstance(value, BaseModel):
        yield from references(value, path)
        return
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *metadata = get_args(annotation)
        marker = next((item for item in metadata if isinstance(item, Marker)), None)
        if marker is None:
            yield from _walk(value, base, path)
        elif _fits(value, annotation):
            yield from _marked(value, marker, base, path)
        return
    if origin in (Union, types.UnionType):
        arm = next((arm for arm in get_args(annotation) if _fits(value, arm)), None)
        if arm is not None:
            yield from _walk(value, arm, path)
        return
    yield from _walk_container(value, get_args(annotation), path)


def _walk_container(value: Any, arguments: tuple[Any, ...], path: str) -> Iterator[Found]:
    if isinstance(value, Mapping) and len(arguments) == 2:
        for key, item in value.items():
            here = at_key(path, key)
            yield from _walk(key, arguments[0], here)
            yield from _walk(item, arguments[1], here)
        return
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if arguments:
                yield from _walk(item, arguments[0], at_index(path, index))


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value can be of an arm of a union, by its JSON type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _fits(value, get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return any(_fits(value, arm) for arm in get_args(annotation))
    if annotation is Any:
        return True
    kind = origin or annotation
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    return isinstance(kind, type) and isinstance(value, kind)


def _marked(value: Any, marker: Marker, base: Any, path: str) -> Iterator[Found]:
    if marker.name in ("text", "json") or isinstance(value, str):
        yield Found(path, marker, value)
    if marker.name == "text":
        yield from text_leaves(value, path)
    elif marker.name == "json":
        yield from json_leaves(value, marker, path)


def text_leaves(text: Json, path: str) -> Iterator[Found]:
    """The templates and guards inside a Text (or a list of Texts by try), with their paths."""
    template = Marker("template", place="text", wants="string")
    guard = Marker("cel", place="text", wants="bool")
    if isinstance(text, str):
        yield Found(path, template, text)
    elif isinstance(text, list):
        by_try = is_by_try(text)
        for index, item in enumerate(text):
            here = at_index(path, index)
            if not by_try and isinstance(item, Mapping) and "if" in item:
                yield Found(at_key(here, "if"), guard, item["if"])
                yield from text_leaves(item["text"], at_key(here, "text"))
            else:
                yield from text_leaves(item, here)
    elif isinstance(text, Mapping):
        if "audio" in text:
            return
        for key, item in text.items():
            yield from text_leaves(item, at_key(path, key))


def json_leaves(value: Json, marker: Marker, path: str) -> Iterator[Found]:
    """The templates inside a JSON value, with their paths."""
    if isinstance(value, str):
        yield Found(path, Marker("template", place=marker.place), value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from json_leaves(item, marker, at_key(path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from json_leaves(item, marker, at_index(path, index))
