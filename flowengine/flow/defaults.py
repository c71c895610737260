"""What a flow says once for all its nodes, and how a node's `use` changes a part of it.

Everything is optional: what a flow leaves out comes from the server's settings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from flowengine.flow.models import FlowModel
from flowengine.flow.types import Duration, RetryText, Template, language_pattern, wrong


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        message = f"{value!r} is no time zone."
        raise wrong("bad_timezone", message, 'Write one such as "Europe/Paris".') from None
    return value


Language = Annotated[str, Field(pattern=f"^{language_pattern}$")]
Spelt = Annotated[str, Field(pattern=r"\S")]
Timezone = Annotated[str, AfterValidator(_timezone)]


class ServiceUse(FlowModel):
    """Which vendor does a piece of work. Keys beyond these are the vendor's own settings."""

    # The vendors' settings are checked where the vendors are known; a key that is nearly one of
    # ours is refused here, because it would silently do nothing.
    model_config = ConfigDict(extra="allow")
    services: ClassVar[str] = ""

    provider: str | None = Field(None, description="The vendor, by its name in flowengine.")
    model: str | None = Field(None, description="The vendor's model.")

    @model_validator(mode="after")
    def _no_misspelt_key(self) -> Self:
        known = [info.alias or name for name, info in type(self).model_fields.items()]
        mistakes = []
        for key, value in self.settings.items():
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
            if near:
                error = wrong("unknown_key", f"Unknown key {key!r}.", "", known=tuple(known))
                mistakes.append(InitErrorDetails(type=error, loc=(key,), input=value))
        if mistakes:
            raise ValidationError.from_exception_data("ServiceUse", mistakes)
        return self

    @property
    def settings(self) -> Mapping[str, Any]:
        """The vendor's own settings, as written."""
        return self.model_extra or {}


class SttUse(ServiceUse):
    """Speech to text."""

    keyterms: tuple[str, ...] | None = Field(
        None, description="Names and words to listen for: products, people, places."
    )
    fallback: tuple[SttUse, ...] | None = Field(
        None, description="Who takes over when the vendor fails, in order."
    )


class LlmUse(ServiceUse):
    """The language model."""

    fallback: tuple[LlmUse, ...] | None = Field(
        None, description="Who takes over when the vendor fails, in order."
    )


class TtsUse(ServiceUse):
    """Text to speech."""

    voice: str | dict[str, str] | None = Field(
        None, description='The voice, or one by language: {"en-US": "…"}.'
    )
    pronunciation: dict[Spelt, Spelt | dict[Language, Spelt]] | None = Field(
        None,
        description='How words are spelt for the voice: {"SQL": "sequel"}, or by language. '
        "A word in lower case stands for any case, one with a capital for itself.",
    )
    fallback: tuple[TtsUse, ...] | None = Field(
        None, description="Who takes over when the vendor fails, in order."
    )


class TurnTaking(FlowModel):
    """When the caller's turn is over, and when it interrupts ours."""

    endpointing: Duration | None = Field(
        None, description="Quiet after which the caller's turn is over."
    )
    barge_in: Duration | None = Field(
        None, description="Speech of this length interrupts what we say."
    )


class Retry(FlowModel):
    """What happens when the caller says nothing, or nothing that fits.

    Two counters, silence and misfit; either ends the node when it passes `at_most`.
    """

    after: Duration | None = Field(None, description="Silence after which it counts as no input.")
    no_input: RetryText | None = Field(
        None, description="Said after silence: a Text, or a list of Texts by try."
    )
    no_match: RetryText | None = Field(
        None, description="Said after something that does not fit: a Text, or a list by try."
    )
    at_most: int | None = Field(None, ge=0, le=20, description="Retries before the node ends.")


class Limits(FlowModel):
    """How long a call may last and how often a node may be entered."""

    call: Duration | None = Field(None, description="Length of the call; then `time_up`.")
    node_visits: int | None = Field(
        None, ge=1, description="Visits of a node without the caller doing anything."
    )


class Use(FlowModel):
    """A part of `defaults` for one node, merged key by key."""

    language: Language | None = Field(None, description="The language spoken, such as en-US.")
    timezone: Timezone | None = Field(None, description="The flow's time zone.")
    recording: bool | None = Field(None, description="Whether the call is recorded.")
    persona: Template | None = Field(None, description="Who the LLM is, in every dialog.")
    stt: SttUse | None = Field(None, description="Speech to text.")
    llm: LlmUse | None = Field(None, description="The language model.")
    tts: TtsUse | None = Field(None, description="Text to speech.")
    turn_taking: TurnTaking | None = Field(None, description="Endpointing and barge-in.")
    retry: Retry | None = Field(None, description="Silence and words that do not fit.")
    limits: Limits | None = Field(None, description="The call's limits.")


class Defaults(Use):
    """What holds for all nodes of the flow."""


_vendor_keys = ("stt", "llm", "tts")


def merge_use(defaults: Defaults, use: Use | None, retry: Retry | None = None) -> Defaults:
    """`defaults` with a node's `use` and `retry` merged over it, key by key.

    When `use` names another provider, the first one's model, voice and own settings do not carry
    over to it (they would mean nothing there); its `fallback` does.
    """
    merged = defaults.written()
    for extra in (use.written() if use else {}, {"retry": retry.written()} if retry else {}):
        for key, value in extra.items():
            before = merged.get(key)
            if not (isinstance(before, dict) and isinstance(value, dict)):
                merged[key] = value
                continue
            if key in _vendor_keys and value.get("provider", before.get("provider")) != before.get(
                "provider"
            ):
                before = {k: v for k, v in before.items() if k == "fallback"}
            merged[key] = {**before, **value}
    return Defaults.model_validate(merged)
