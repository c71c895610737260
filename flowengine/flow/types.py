"""The field types of the flow language: what a string in a flow document means.

Every model of the language (nodes, edges, tools, defaults) writes its fields with these types. A
type is a plain Python type with a `Marker` beside it, so that the compiler, the checks, the schema
and the editor find every expression, Text and name in any model without knowing the model:
see `flowengine.flow.references`. Values stay as written in the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from flowengine.events import Json

Visible = Literal["flow", "text", "tool", "valid", "result"]
"""Which names an expression sees: see `flowengine.flow.expressions.Place`."""

MarkerName = Literal[
    "duration",
    "cel",
    "template",
    "text",
    "json",
    "variable",
    "node",
    "tool",
    "list",
    "calendar",
    "flow",
    "phone",
]

variable_name_pattern = r"[a-z][a-z0-9_]*"
language_pattern = r"[a-z]{2,3}(-[A-Za-z]{4})?(-([A-Z]{2}|[0-9]{3}))?"
duration_pattern = r"(\d+(?:\.\d+)?)(ms|s|m|h)"
_units_ms = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class Marker:
    """What a field means beside its Python type.

    `place` and `wants` matter for expressions and templates: which names are visible and which
    type must come out (`bool`, `string`, `any`).
    """

    name: MarkerName
    place: Visible = "flow"
    wants: str = "any"

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say in the JSON Schema what the value means: `x-flow` names it for the editor."""
        schema = dict(handler(core_schema))
        schema["x-flow"] = self.name
        if self.name in ("cel", "template", "json", "text"):
            schema["x-place"] = self.place
        if self.wants != "any":
            schema["x-wants"] = self.wants
        if self.name == "duration":
            schema["pattern"] = f"^{duration_pattern}$"
            schema["examples"] = ["400ms", "7s", "10m"]
        if self.name == "variable":
            schema["pattern"] = f"^{variable_name_pattern}$"
        return schema


def wrong(code: str, message: str, fix: str = "", **context: Any) -> PydanticCustomError:
    """An error that a validator raises: `code` becomes the finding's code, `fix` its advice."""
    # A PydanticCustomError formats `{…}` in its template; the message comes in as a value.
    return PydanticCustomError(code, "{message}", {"message": message, "fix": fix, **context})


def _duration(value: str) -> str:
    if re.fullmatch(duration_pattern, value) is None:
        raise wrong(
            "bad_duration", f"{value!r} is no duration.", 'Write one such as "400ms", "7s", "10m".'
        )
    return value


def duration_ms(value: str) -> int:
    """Milliseconds of a duration as written: `"400ms"`, `"7s"`, `"1.5s"`, `"10m"`, `"2h"`."""
    match = re.fullmatch(duration_pattern, value)
    if match is None:
        raise ValueError(f"not a duration: {value!r}")
    return round(float(match[1]) * _units_ms[match[2]])


def _phone(value: str) -> str:
    if re.fullmatch(r"\+[1-9][0-9]{5,14}", value) is None:
        raise wrong(
            "bad_phone",
            f"{value!r} is no phone number.",
            'Write it with country code and without spaces, such as "+33123456789".',
        )
    return value


def _name(value: str) -> str:
    if re.fullmatch(variable_name_pattern, value) is None:
        raise wrong(
            "bad_variable_name",
            f"{value!r} is no name of a variable.",
            "Use a lower-case letter, then lower-case letters, digits and _.",
        )
    return value


def _node_name(value: str) -> str:
    if not value or value in ("*", "@back"):
        raise wrong("bad_node_name", f"{value!r} is no name of a node.", "Name it with letters.")
    return value


def _source(value: str) -> str:
    if not value.strip():
        raise wrong("empty_expression", "The expression is empty.", "Write it, or drop the key.")
    return value


Duration: TypeAlias = Annotated[str, AfterValidator(_duration), Marker("duration")]
"""`"400ms"`, `"7s"`, `"10m"`, kept as written; `duration_ms` reads it."""

PhoneNumber: TypeAlias = Annotated[str, AfterValidator(_phone), Marker("phone")]
"""E.164: `"+33123456789"`."""

VariableName: TypeAlias = Annotated[str, AfterValidator(_name), Marker("variable")]
NodeName: TypeAlias = Annotated[str, AfterValidator(_node_name), Marker("node")]
ToolName: TypeAlias = Annotated[str, Marker("tool")]
ListName: TypeAlias = Annotated[str, Marker("list")]
CalendarName: TypeAlias = Annotated[str, Marker("calendar")]
FlowName: TypeAlias = Annotated[str, Marker("flow")]
"""The id of another flow."""

Cel: TypeAlias = Annotated[str, AfterValidator(_source), Marker("cel")]
"""An expression over the flow's variables, `call`, `turn`, `now`; any type may come out."""

Guard: TypeAlias = Annotated[str, AfterValidator(_source), Marker("cel", wants="bool")]
"""An expression that must be true or false."""

TextGuard: TypeAlias = Annotated[
    str, AfterValidator(_source), Marker("cel", place="text", wants="bool")
]
"""The `if` inside a Text: knows `visit` and `try` too."""

ValidCel: TypeAlias = Annotated[
    str, AfterValidator(_source), Marker("cel", place="valid", wants="bool")
]
"""A variable's `valid`: knows `value`."""

ResultCel: TypeAlias = Annotated[str, AfterValidator(_source), Marker("cel", place="result")]
"""A value of `save`: knows `result`."""

Template: TypeAlias = Annotated[str, Marker("template", place="text", wants="string")]
"""A string with `{{ }}`."""

ToolTemplate: TypeAlias = Annotated[str, Marker("template", place="tool", wants="string")]
"""A string with `{{ }}` in a tool's request: knows `input.x` and `secrets.NAME`."""

TemplatedJson: TypeAlias = Annotated[Any, Marker("json", place="text")]
"""A JSON value with `{{ }}` in its strings; a string that is one `{{ }}` keeps its type."""

ToolJson: TypeAlias = Annotated[Any, Marker("json", place="tool")]
"""The same in a tool's request."""


# --- Text ---------------------------------------------------------------------------------------


def _text(value: Json) -> Json:
    mistakes = [
        InitErrorDetails(type=error, loc=place, input=part)
        for place, error, part in _text_mistakes(value, ())
    ]
    if mistakes:
        raise ValidationError.from_exception_data("Text", mistakes)
    return value


Place = tuple[str | int, ...]
_Mistake = tuple[Place, PydanticCustomError, Json]
_text_forms = (
    'Write a string, {"audio": "file.wav"}, {"prompt": "…"}, {"en-US": Text, …} '
    'or [{"if": "…", "text": Text}, …, Text].'
)


def _text_mistakes(value: Json, place: Place) -> Iterator[_Mistake]:
    if isinstance(value, str):
        return
    if isinstance(value, dict):
        yield from _dict_mistakes(value, place)
    elif isinstance(value, list):
        yield from _list_mistakes(value, place)
    else:
        yield (
            place,
            wrong("bad_text", f"A Text cannot be {_kind_of(value)}.", _text_forms),
            value,
        )


def _dict_mistakes(value: dict[str, Json], place: Place) -> Iterator[_Mistake]:
    if not value:
        yield place, wrong("bad_text", "This Text is empty.", _text_forms), value
    if "if" in value or "text" in value:
        message = "A guarded Text stands in a list."
        fix = 'Put it in [ ], and after it the Text for "else".'
        yield place, wrong("bad_text", message, fix), value
        return
    for single in ("audio", "prompt"):
        if single in value:
            yield from _single_mistakes(value, single, place)
            return
    for key, part in value.items():
        if re.fullmatch(language_pattern, key) is None:
            message = f"{key!r} is neither a language nor a key of Text."
            known = ("audio", "prompt")
            yield (*place, key), wrong("unknown_key", message, _text_forms, known=known), part
        else:
            yield from _text_mistakes(part, (*place, key))


def _single_mistakes(value: dict[str, Json], key: str, place: Place) -> Iterator[_Mistake]:
    if not isinstance(value[key], str) or not value[key]:
        message = f"{key!r} must be a string."
        yield (*place, key), wrong("wrong_type", message, "Write it in quotes."), value[key]
    for other, part in value.items():
        if other != key:
            message = f"{other!r} cannot stand beside {key!r}."
            fix = f"Remove {other!r}."
            yield (*place, other), wrong("unknown_key", message, fix, known=(key,)), part


def _list_mistakes(value: list[Json], place: Place) -> Iterator[_Mistake]:
    if not value:
        yield place, wrong("bad_text", "This list of Texts is empty.", _text_forms), value
    for index, item in enumerate(value):
        here = (*place, index)
        if isinstance(item, dict) and ("if" in item or "text" in item):
            yield from _guarded_mistakes(item, here)
            if index == len(value) - 1:
                message = "The last item of the list has a guard; if none holds, nothing is said."
                fix = 'End the list with a Text without "if" ("" for silence).'
                yield here, wrong("text_without_else", message, fix), item
        elif index < len(value) - 1:
            message = "Only the last item of the list may stand without a guard."
            fix = 'Write {"if": "…", "text": …}.'
            yield here, wrong("text_without_guard", message, fix), item
        else:
            yield from _text_mistakes(item, here)


def _guarded_mistakes(item: dict[str, Json], place: Place) -> Iterator[_Mistake]:
    for key in ("if", "text"):
        if key not in item:
            message = f"The key {key!r} is missing."
            yield (*place, key), wrong("missing_key", message, f"Add {key!r}."), item
    guard = item.get("if", "x")
    if not isinstance(guard, str) or not guard.strip():
        message = "'if' must be an expression."
        yield (*place, "if"), wrong("wrong_type", message, "Write it as a string."), guard
    for key, part in item.items():
        if key not in ("if", "text"):
            message = f"Unknown key {key!r}."
            yield (
                (*place, key),
                wrong("unknown_key", message, "", known=("if", "text")),
                part,
            )
    if "text" in item:
        yield from _text_mistakes(item["text"], (*place, "text"))


def _kind_of(value: Json) -> str:
    if value is None:
        return "null"
    return "true or false" if isinstance(value, bool) else "a number"


Text: TypeAlias = Annotated[
    str | dict[str, Any] | list[Any], BeforeValidator(_text), Marker("text", place="text")
]
"""What is said, sent or given to the LLM, as written in the document.

A string with `{{ }}` · `{"audio": "file.wav"}` · `{"prompt": "let the LLM say …"}` ·
`{"nl-NL": Text, "en-US": Text}` · `[{"if": CEL, "text": Text}, …, Text]`.
"""


def _retry_text(value: Json) -> Json:
    if is_by_try(value):
        mistakes = [
            InitErrorDetails(type=error, loc=place, input=part)
            for index, item in enumerate(value)
            for place, error, part in _text_mistakes(item, (index,))
        ]
        if mistakes:
            raise ValidationError.from_exception_data("Text", mistakes)
        return value
    return _text(value)


def is_by_try(value: Json) -> bool:
    """Whether a retry's Text is a list by try: a list in which no item has `if`."""
    return (
        isinstance(value, list)
        and bool(value)
        and not any(isinstance(item, Mapping) and "if" in item for item in value)
    )


RetryText: TypeAlias = Annotated[
    str | dict[str, Any] | list[Any], BeforeValidator(_retry_text), Marker("text", place="text")
]
"""A Text, or a list of Texts by try (a list in which an item has `if` is one Text)."""


def text_of_try(value: Json, try_number: int) -> Json:
    """The Text for a try (from 1) of a `RetryText`; past the end of a list, its last."""
    if is_by_try(value):
        return value[min(try_number, len(value)) - 1]
    return value
