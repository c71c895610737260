"""The conditions of a routing table as written: who calls, when, with what, how busy it is."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

import phonenumbers
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flowengine.flow.models import FlowModel
from flowengine.flow.types import CalendarName, FlowName, ListName, PhoneNumber, wrong


def _one_or_more(item: Any) -> BeforeValidator:
    """A list that may be written as its only item."""
    return BeforeValidator(
        lambda value: value if isinstance(value, (list, tuple)) else (value,),
        json_schema_input_type=item | Annotated[tuple[item, ...], Field(min_length=1)],
    )


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise wrong("empty_condition", "The list is empty.", "Name one, or remove the key.")
    return value


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


Prefix: TypeAlias = Annotated[str, AfterValidator(_prefix)]
Country: TypeAlias = Annotated[str, AfterValidator(_country)]
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
        Annotated[tuple[PhoneNumber, ...], AfterValidator(_some), _one_or_more(PhoneNumber)] | None
    ) = Field(None, description="One of these numbers.")
    prefix: Annotated[tuple[Prefix, ...], AfterValidator(_some), _one_or_more(Prefix)] | None = (
        Field(None, description='A number that begins so: `"+3312"`, or a list.')
    )
    country: Annotated[tuple[Country, ...], AfterValidator(_some), _one_or_more(Country)] | None = (
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

    percent: float | int = Field(description="How many of a hundred callers, 0.01 to 100.")
    salt: str | None = Field(
        None,
        description="The word by which callers are drawn; without it, the rule's name.",
        min_length=1,
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not 0.01 <= self.percent <= 100:
            message = f"{self.percent} % is no share of callers."
            raise wrong("empty_share", message, "Write 0.01 to 100.", at="percent")
        return self


def _text_is(value: Any) -> Any:
    # An object can be nothing else; so its errors are told instead of those of all forms.
    return TextIs.model_validate(value) if isinstance(value, dict) else value


HeaderIs: TypeAlias = Annotated[str | tuple[str, ...] | TextIs, BeforeValidator(_text_is)]
MetadataIs: TypeAlias = Annotated[Scalar | tuple[Scalar, ...] | TextIs, BeforeValidator(_text_is)]


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
