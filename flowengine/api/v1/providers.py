"""Providers: what is set up here, how each is, its voices, and a live test of its account."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import Path
from pydantic import Field

from flowengine.api.access import Editor, Reader
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.events import Json
from flowengine.providers.offers import provider_rows
from flowengine.providers.registry import offered
from flowengine.providers.round_trip import round_trips
from flowengine.providers.settings import ProviderSettings

router = group("providers")

ProviderName = Annotated[str, Path(pattern=r"^[a-z0-9_-]{1,40}$", examples=["deepgram"])]


class Does(Body):
    """One kind of work that a provider does."""

    model: str = Field(description="The model or voice of flows that name none.")
    sunset: date | None = Field(description="The day on which the vendor ends it.")


class ProviderShown(Body):
    """A provider."""

    name: str
    has_key: bool
    is_set_up: bool = Field(description="It has its key, or needs none.")
    does: dict[str, Does] = Field(description="By `stt`, `llm`, `tts`.")
    health: list[dict[str, Json]] = Field(
        description="How it was since this process started, by kind of work."
    )


class Providers(Body):
    """All providers."""

    items: list[ProviderShown]


class VoiceShown(Body):
    """A voice of the catalogue."""

    id: str
    name: str
    language: str
    gender: str


class Voices(Body):
    """A provider's voices that the catalogue knows; any other id of the vendor works too."""

    items: list[VoiceShown]


class Tests(Body):
    """What one live round trip with a provider gave, by kind of work."""

    items: list[dict[str, Json]]


@router.get("/providers")
async def list_providers(service: TheService, by: Reader) -> Providers:
    """Every provider that can be named in a flow."""
    values = ProviderSettings(service.engine.settings.provider_settings())
    health = list(service.engine.vendors.health.told())
    return Providers(
        items=[
            ProviderShown.model_validate(
                {**row, "health": [one for one in health if one["provider"] == row["name"]]}
            )
            for row in provider_rows(values, service.engine.catalog)
        ]
    )


@router.get("/providers/{name}/voices", responses=refusals(404))
async def list_voices(service: TheService, by: Reader, name: ProviderName) -> Voices:
    """A provider's voices."""
    _known(name)
    return Voices(
        items=[
            VoiceShown(id=one.id, name=one.name, language=one.language, gender=one.gender)
            for one in service.engine.catalog.voices
            if one.provider == name
        ]
    )


@router.post("/providers/{name}/test", responses=refusals(404, 409))
async def test_provider(service: TheService, by: Editor, name: ProviderName) -> Tests:
    """Speak, hear and ask once with a provider, with this server's account; it costs a little."""
    _known(name)
    values = ProviderSettings(service.engine.settings.provider_settings())
    if not values.is_set_up(name):
        raise Refused(
            409,
            "not_set_up",
            f"The provider {name!r} is not set up on this server.",
            fix="Set its key in the server's environment.",
        )
    trips = await round_trips([name], values, service.engine.catalog)
    return Tests(items=[trip.to_json() for trip in trips])


def _known(name: str) -> None:
    if name not in offered():
        raise not_found("provider", name, "GET /v1/providers lists them.")
