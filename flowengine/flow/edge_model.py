"""Edges as declared: where from, on what trigger, under which guard, what is set, where to.

How one is chosen is decided in `flowengine.flow.edges`.
"""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, field_serializer

from flowengine.flow.models import FlowModel
from flowengine.flow.types import Cel, Duration, Guard, Marker, VariableName, wrong
from flowengine.ids import EdgeId

star = "*"
back = "@back"


def _keys(value: str) -> str:
    if not value or any(key not in "0123456789*#ABCD" for key in value):
        message = f"{value!r} are no keys of a phone."
        raise wrong("bad_keys", message, 'Write one or more of 0-9, * and #, such as "12".')
    return value


class OnOutcome(FlowModel):
    """The node ended with one of these outcomes; `else` is any that no other edge took."""

    outcomes: tuple[str, ...] = Field(description="Names of outcomes.")

    @property
    def is_else(self) -> bool:
        """Whether this takes what no other edge of the node took."""
        return self.outcomes == ("else",)


class OnDigits(FlowModel):
    """The caller pressed these keys."""

    digits: Annotated[str, AfterValidator(_keys)] = Field(description="One or more keys.")


class OnWhen(FlowModel):
    """A condition over values came true while the node runs."""

    when: Guard = Field(description="Looked at on entry and after every change of a value.")


class OnIntent(FlowModel):
    """The caller said something that means this."""

    intent: str = Field(description="What the caller means, in words.", min_length=1)
    examples: tuple[str, ...] = Field((), description="Sentences that mean it.")
    not_: tuple[str, ...] = Field((), alias="not", description="Sentences that do not mean it.")


Trigger: TypeAlias = OnOutcome | OnDigits | OnWhen | OnIntent
_forms = (
    'Write an outcome ("done"), a list of outcomes, "else", {"digits": "1"}, {"when": "…"} '
    'or {"intent": "…"}.'
)
_models: dict[str, type[OnDigits | OnWhen | OnIntent]] = {
    "digits": OnDigits,
    "when": OnWhen,
    "intent": OnIntent,
}


def _trigger(value: Any, info: ValidationInfo) -> Trigger:
    if isinstance(value, (OnOutcome, OnDigits, OnWhen, OnIntent)):
        return value
    if isinstance(value, str) and value:
        return OnOutcome(outcomes=(value,))
    if isinstance(value, list):
        return _outcome_list(value)
    if not isinstance(value, dict):
        raise wrong("bad_trigger", "This is no trigger of an edge.", _forms)
    named = [key for key in _models if key in value]
    if len(named) > 1:
        message = f"An edge has one trigger, and this has {' and '.join(named)}."
        raise wrong("bad_trigger", message, "Write one edge for each.")
    if not named:
        known = (*_models, "examples", "not")
        if not value:
            raise wrong("bad_trigger", "This trigger is empty.", _forms)
        key = next(iter(value))
        raise wrong("unknown_key", f"Unknown key {key!r}.", _forms, known=known, at=key, got=key)
    return _models[named[0]].model_validate(value, context=info.context)


def _outcome_list(value: list[Any]) -> OnOutcome:
    if not value or not all(isinstance(item, str) and item for item in value):
        raise wrong("bad_trigger", "A list of outcomes holds their names.", _forms)
    if "else" in value:
        message = "'else' stands alone: it already takes every other outcome."
        raise wrong("bad_trigger", message, 'Write "else".')
    return OnOutcome(outcomes=tuple(value))


def _sources(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value):
        if star in value and len(value) > 1:
            raise wrong("bad_from", "'*' already means every node.", 'Write "from": "*".')
        return tuple(value)
    raise wrong("wrong_type", "'from' is a node, a list of nodes, or '*'.", 'Write "welcome".')


OnField = Annotated[
    Trigger,
    PlainValidator(_trigger, json_schema_input_type=str | list[str] | OnDigits | OnWhen | OnIntent),
]
NodeTarget: TypeAlias = Annotated[str, Field(min_length=1), Marker("node")]
FromField = Annotated[
    tuple[Annotated[str, Marker("node")], ...],
    PlainValidator(_sources, json_schema_input_type=str | list[str]),
]


class Edge(FlowModel):
    """A way from a node to the next."""

    id: EdgeId = Field(
        EdgeId(""),
        description="The edge's id; without one it is `e` and its place among the edges.",
        pattern=r"^[A-Za-z0-9_.-]*$",
    )
    label: str | None = Field(None, description="Title shown in drawings and in the editor.")
    note: str | None = Field(None, description="A remark for those who read the flow.")
    from_: FromField = Field(alias="from", description="A node, a list of nodes, or `*` for all.")
    on: OnField = Field(
        OnOutcome(outcomes=("done",)), description="What makes the edge fire; default `done`."
    )
    if_: Guard | None = Field(
        None, alias="if", description="Must hold for the edge to take its trigger."
    )
    set: dict[VariableName, Cel] = Field(
        default_factory=dict, description="Variables set on the way; `null` forgets."
    )
    to: NodeTarget = Field(
        description="The next node, or `@back`: where the last intent, key or `when` edge left."
    )
    need: tuple[VariableName, ...] = Field(
        (), description="Variables that must be known for the edge to be taken."
    )
    cooldown: Duration | None = Field(
        None, description="After it was taken, the edge rests for this time."
    )

    @field_serializer("on")
    def _write_trigger(self, trigger: Trigger) -> str | list[str] | dict[str, Any]:
        if isinstance(trigger, OnOutcome):
            names = list(trigger.outcomes)
            return names[0] if len(names) == 1 else names
        return trigger.written()

    @field_serializer("from_")
    def _write_sources(self, sources: tuple[str, ...]) -> str | list[str]:
        return sources[0] if len(sources) == 1 else list(sources)

    @property
    def sources(self) -> tuple[str, ...]:
        """The nodes from which the edge leaves; `("*",)` for all."""
        return self.from_

    @property
    def is_star(self) -> bool:
        """Whether the edge leaves every node."""
        return self.from_ == (star,)

    def numbered(self, index: int) -> Self:
        """The edge with an id: its own, or `e3` for the edge at index 3 of the document.

        The number is stable for a published version, since a version is immutable.
        """
        if self.id:
            return self
        edge = self.model_copy(update={"id": EdgeId(f"e{index}")})
        edge.model_fields_set.discard("id")
        return edge
