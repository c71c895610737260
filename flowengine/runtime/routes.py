"""The routing table of a number: one JSON object, and the pydantic models that describe it.

Rules are looked at in order; the first whose conditions all hold says where the call goes, and
`last` says it when none does. `flowengine.runtime.routing` decides over a table;
`flowengine.runtime.route_reading` reads and checks one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from flowengine.events import Json
from flowengine.flow.calendar_model import Calendar
from flowengine.flow.defaults import Timezone
from flowengine.flow.models import FlowModel, as_part
from flowengine.flow.types import (
    Duration,
    FlowName,
    PhoneNumber,
    VariableName,
    duration_ms,
    wrong,
)
from flowengine.runtime.route_when import Scalar, When

LAST = "last"
"""The name under which the last resort stands in decisions, where others have their rule's."""
MOST_RULES = 2000
LONGEST_ASK_MS = 10_000
"""The caller hears ringing meanwhile, and carriers wait 15 s for our answer."""

_name_pattern = r"^[a-z0-9][a-z0-9_-]*$"


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_good = False
    if not is_good:
        raise wrong("bad_url", f"{value!r} is no URL.", 'Write one that begins with "https://".')
    return value


def _time(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        message = f"{value!r} is no time."
        raise wrong("bad_time", message, 'Write one such as "2026-12-24T10:00".') from None
    return value


def _rule_name(value: str) -> str:
    if value == LAST:
        message = f"{LAST!r} is the name of the last resort."
        raise wrong("reserved_name", message, "Give the rule another name.")
    return value


Url: TypeAlias = Annotated[str, AfterValidator(_url)]
RuleName: TypeAlias = Annotated[
    str, Field(pattern=_name_pattern, max_length=100), AfterValidator(_rule_name)
]
Time: TypeAlias = Annotated[str, AfterValidator(_time)]
FlowTag: TypeAlias = Annotated[str, Field(pattern=_name_pattern, max_length=100)]


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
        description="The word by which callers are drawn; without it, the rule's name and `/to`.",
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


class RouteTest(FlowModel):
    """A call of which its author knows where it must go."""

    name: str = Field("", description="What is tried.")
    caller: PhoneNumber | None = Field(None, description="Who calls; null is a withheld number.")
    at: Time = Field(
        description="When; without an offset, in the table's time zone (UTC if it has none)."
    )
    header: dict[str, str] = Field(default_factory=dict, description="The call's headers.")
    metadata: dict[str, Scalar] = Field(
        default_factory=dict, description="What else came with the call."
    )
    running: dict[str, int] = Field(
        default_factory=dict,
        description="Calls that run: `all`, to this `number`, or by the id of a flow.",
    )
    rule: str = Field(description="The rule that must be taken, or `last`.")
    to: Target | None = Field(None, description="Where the call must go, after any split.")


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
    tests: tuple[RouteTest, ...] = Field(
        (), description="Calls that must go where their author says; they change no decision."
    )

    def time_of(self, written: str) -> datetime:
        """An aware time; without an offset it is meant in the table's time zone, else in UTC."""
        moment = datetime.fromisoformat(written)
        zone = ZoneInfo(self.timezone or "UTC")
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)

    def zone_of(self, calendar: str) -> str:
        """The time zone in which a calendar is read."""
        return self.calendars[calendar].timezone or self.timezone or "UTC"
