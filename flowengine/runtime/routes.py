"""The routing table of a number: one JSON object, and the pydantic models that describe it.

Rules are looked at in order; the first whose conditions all hold says where the call goes, and
`last` says it when none does. `flowengine.runtime.routing` decides over a table;
`flowengine.runtime.route_reading` reads and checks one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from flowengine.events import Json
from flowengine.flow.calendar_model import Calendar
from flowengine.flow.defaults import Timezone
from flowengine.flow.models import FlowModel, as_part
from flowengine.flow.types import (
    CalendarName,
    Duration,
    FlowName,
    ListName,
    PhoneNumber,
    VariableName,
    duration_ms,
    wrong,
)

LAST = "last"
"""The name under which the last resort stands in decisions, where others have their rule's."""
MOST_RULES = 2000
LONGEST_ASK_MS = 10_000
"""The caller hears ringing meanwhile, and carriers wait 15 s for our answer."""

_name_pattern = r"^[a-z0-9][a-z0-9_-]*$"


def _one_or_more(item: Any) -> BeforeValidator:
    """A list that may be written as its only item."""
    return BeforeValidator(
        lambda value: value if isinstance(value, (list, tuple)) else (value,),
        json_schema_input_type=item | Annotated[tuple[item, ...], Field(min_length=1)],
    )


def _prefix(value: str) -> str:
    if re.fullmatch(r"\+[1-9][0-9]{0,14}", value) is None:
        message = f"{value!r} is no beginning of a phone number."
        raise wrong("bad_prefix", message, 'Write it with country code, such as "+3312".')
    return value


def _country(value: str) -> str:
    if value not in phonenumbers.SUPPORTED_REGIONS:
        message = f"{value!r} is no country."
        raise wrong("bad_country", message, 'Write its two capital letters (ISO 3166), as in "FR".')
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_good = False
    if not is_good:
        raise wrong("bad_url", f"{value!r} is no URL.", 'Write one that begins with "https://".')
    return value


def _rule_name(value: str) -> str:
    if value == LAST:
        message = f"{LAST!r} is the name of the last resort."
        raise wrong("reserved_name", message, "Give the rule another name.")
    return value


Prefix: TypeAlias = Annotated[str, AfterValidator(_prefix)]
Country: TypeAlias = Annotated[str, AfterValidator(_country)]
Url: TypeAlias = Annotated[str, AfterValidator(_url)]
RuleName: TypeAlias = Annotated[
    str, Field(pattern=_name_pattern, max_length=100), AfterValidator(_rule_name)
]
FlowTag: TypeAlias = Annotated[str, Field(pattern=_name_pattern, max_length=100)]
Percent: TypeAlias = float | int
Scalar: TypeAlias = bool | int | float | str


class _Conditions(FlowModel):
    """Conditions of one sort: all that are written must hold, and one is."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            known = [info.alias or name for name, info in type(self).model_fields.items()]
            raise wrong("empty_condition", "It says no condition.", f"Use {', '.join(known)}.")
        return self


# --- conditions -------------------------------------------------------------------------------


class CallerIs(_Conditions):
    """Who calls. A withheld number is in no country and no list, and has no prefix."""

    exact: (
        Annotated[tuple[PhoneNumber, ...], Field(min_length=1), _one_or_more(PhoneNumber)] | None
    ) = Field(None, description="One of these numbers.")
    prefix: Annotated[tuple[Prefix, ...], Field(min_length=1), _one_or_more(Prefix)] | None = Field(
        None, description='A number that begins so: `"+3312"`, or a list.'
    )
    country: Annotated[tuple[Country, ...], Field(min_length=1), _one_or_more(Country)] | None = (
        Field(None, description='A number of that country (ISO 3166): `"FR"`, or a list.')
    )
    list: ListName | None = Field(None, description="In that list of the table.")
    anonymous: bool | None = Field(None, description="Whether the number is withheld.")
    not_: CallerIs | None = Field(
        None, alias="not", description="What does not hold of the caller, written the same way."
    )


class CalendarIs(_Conditions):
    """When it is, by the table's calendars."""

    open: CalendarName | None = Field(None, description="That calendar is open.")
    closed: CalendarName | None = Field(None, description="That calendar is closed.")
    holiday: CalendarName | None = Field(
        None, description="It is a public holiday where that calendar keeps them."
    )


class TextIs(_Conditions):
    """What a header or a part of the metadata is, beyond plain equality."""

    prefix: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="A text that begins so."
    )
    present: bool | None = Field(None, description="Whether it is there at all.")


class LoadOf(FlowModel):
    """The calls of one flow."""

    flow: FlowName = Field(description="The flow's id.")


class LoadIs(FlowModel):
    """How many calls run now, without this one."""

    of: Literal["number", "all"] | LoadOf = Field(
        "number",
        description='Calls to this number, `"all"` calls, or those of a flow: `{"flow": id}`.',
    )
    at_least: int | None = Field(None, ge=1, description="So many or more.")
    below: int | None = Field(None, ge=1, description="Fewer than so many.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.at_least is None and self.below is None:
            fix = "Write 'at_least' or 'below'."
            raise wrong("empty_condition", "It says no number of calls.", fix)
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            message = "No number of calls is at least 'at_least' and below 'below'."
            raise wrong("bad_bounds", message, "Swap or drop one.", at="below")
        return self


class ShareIs(FlowModel):
    """A share of the callers; the same caller is always in it, or never."""

    percent: Percent = Field(description="How many of a hundred callers, 0.01 to 100.")
    salt: str | None = Field(
        None,
        description="Callers are drawn by this word and their number; the rule's name.",
        min_length=1,
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not 0.01 <= self.percent <= 100:
            message = f"{self.percent} % is no share of callers."
            raise wrong("empty_share", message, "Write 0.01 to 100.", at="percent")
        return self


HeaderIs: TypeAlias = str | tuple[str, ...] | TextIs
MetadataIs: TypeAlias = Scalar | tuple[Scalar, ...] | TextIs


class When(FlowModel):
    """The conditions of a rule. All that are written must hold; with none, it always holds."""

    caller: CallerIs | None = Field(None, description="Who calls.")
    calendar: CalendarIs | None = Field(None, description="When it is.")
    header: dict[str, HeaderIs] = Field(
        default_factory=dict,
        description="Headers of the call: a text, a list of texts, or `{prefix, present}`.",
    )
    metadata: dict[str, MetadataIs] = Field(
        default_factory=dict,
        description="What else came with the call: a value, a list, or `{prefix, present}`.",
    )
    load: LoadIs | None = Field(None, description="How many calls run.")
    share: ShareIs | None = Field(None, description="A share of the callers.")


# --- targets ----------------------------------------------------------------------------------


class FlowTarget(FlowModel):
    """A flow answers. Without `version` and `tag`: its current version."""

    flow: FlowName = Field(description="The flow's id.", pattern=_name_pattern, max_length=100)
    version: int | None = Field(None, ge=1, description="The number of a published version.")
    tag: FlowTag | None = Field(None, description="A tag that stands for a version.")
    variables: dict[VariableName, Json] = Field(
        default_factory=dict, description="Values of the flow's `input` variables."
    )

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if self.version is not None and self.tag is not None:
            message = "A target has a version or a tag, not both."
            raise wrong("two_versions", message, "Remove one of them.", at="tag")
        return self


class ForwardTarget(FlowModel):
    """The call is put through to another number; no flow answers it."""

    forward: PhoneNumber = Field(description="The number that is called.")


class RefuseTarget(FlowModel):
    """The call is not taken."""

    refuse: Literal["busy", "rejected"] = Field(description="What the caller hears.")


def _by_key(**models: type[FlowModel]) -> Callable[[Any], FlowModel]:
    """Validates one of several models, told apart by a key that only it has."""

    def pick(value: Any) -> FlowModel:
        if isinstance(value, FlowModel) and type(value) in models.values():
            return value
        if not isinstance(value, dict):
            raise wrong("wrong_type", "A target is an object.", 'Write {"flow": "…"}.')
        found = [key for key in models if key in value]
        if not found:
            message, fix = "It does not say where the call goes.", f"Use {', '.join(models)}."
            raise wrong("no_target", message, fix)
        if len(found) > 1:
            message = f"It says both {found[0]!r} and {found[1]!r}."
            raise wrong("two_targets", message, "Keep one of them.", at=found[1])
        return models[found[0]].model_validate(value)

    return pick


Destination: TypeAlias = Annotated[
    FlowTarget | ForwardTarget | RefuseTarget,
    PlainValidator(
        _by_key(flow=FlowTarget, forward=ForwardTarget, refuse=RefuseTarget),
        json_schema_input_type=FlowTarget | ForwardTarget | RefuseTarget,
    ),
    as_part,
]
"""Where a call can really go."""


class AskTarget(FlowModel):
    """A webhook decides, within a time limit; when it does not, `default`."""

    ask: Url = Field(description="The URL that is asked (POST, JSON).")
    timeout: Duration = Field("2s", description="How long it may take, up to 10s.")
    secret: str | None = Field(
        None, description="The name of the secret that signs the question.", min_length=1
    )
    default: Destination = Field(description="Where the call goes without a good answer in time.")

    @model_validator(mode="after")
    def _soon(self) -> Self:
        if not 0 < duration_ms(self.timeout) <= LONGEST_ASK_MS:
            message = f"{self.timeout!r} is too short or too long to wait with a call."
            raise wrong("bad_timeout", message, 'Write "1ms" to "10s".', at="timeout")
        return self


class Side(FlowModel):
    """One side of a split."""

    weight: int = Field(ge=0, description="Its weight among the weights of all sides.")
    to: Annotated[
        FlowTarget | ForwardTarget | RefuseTarget | AskTarget,
        PlainValidator(
            _by_key(flow=FlowTarget, forward=ForwardTarget, refuse=RefuseTarget, ask=AskTarget),
            json_schema_input_type=FlowTarget | ForwardTarget | RefuseTarget | AskTarget,
        ),
        as_part,
    ] = Field(description="Where its callers go: as a rule's `to`, but no further split.")


class SplitTarget(FlowModel):
    """Callers are shared out by weight; the same caller always goes to the same side."""

    split: tuple[Side, ...] = Field(description="The sides, each with its weight.")
    salt: str | None = Field(
        None,
        description="Callers are drawn by this word and their number; the rule's name and `/to`.",
        min_length=1,
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(side.weight for side in self.split):
            message = "No side of the split has a weight."
            raise wrong("empty_share", message, "Give one a weight of 1 or more.", at="split")
        return self


Target: TypeAlias = Annotated[
    FlowTarget | ForwardTarget | RefuseTarget | AskTarget | SplitTarget,
    PlainValidator(
        _by_key(
            flow=FlowTarget,
            forward=ForwardTarget,
            refuse=RefuseTarget,
            ask=AskTarget,
            split=SplitTarget,
        ),
        json_schema_input_type=FlowTarget | ForwardTarget | RefuseTarget | AskTarget | SplitTarget,
    ),
    as_part,
]


# --- the table --------------------------------------------------------------------------------


class Rule(FlowModel):
    """One row of the table."""

    name: RuleName = Field(description="The rule's name, unique in the table.")
    note: str | None = Field(None, description="A remark for those who read the table.")
    when: When = Field(
        default_factory=lambda: When.model_validate({}), description="Its conditions."
    )
    to: Target = Field(description="Where the call goes when they hold.")


class RouteTable(FlowModel):
    """The routing table of a number."""

    routes: Literal["1"] = Field(description="The version of this form of table.")
    name: str = Field("", description="The table's name for people.")
    note: str | None = Field(None, description="A remark for those who read the table.")
    timezone: Timezone | None = Field(
        None, description="The time zone of calendars without one of their own."
    )
    calendars: dict[str, Calendar] = Field(
        default_factory=dict, description="Opening hours by name, written as in a flow."
    )
    lists: dict[str, tuple[PhoneNumber, ...]] = Field(
        default_factory=dict, description="Lists of phone numbers by name, written as in a flow."
    )
    rules: tuple[Rule, ...] = Field(
        (), description="The rules; the first that holds decides.", max_length=MOST_RULES
    )
    last: Target = Field(description="The last resort: where a call goes that no rule takes.")

    def zone_of(self, calendar: str) -> str:
        """The time zone in which a calendar is read."""
        return self.calendars[calendar].timezone or self.timezone or "UTC"

    def targets(self) -> Mapping[str, Target]:
        """The targets by rule, the last resort's under `last`."""
        return {**{rule.name: rule.to for rule in self.rules}, LAST: self.last}
