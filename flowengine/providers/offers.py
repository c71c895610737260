"""What the providers offer here: kinds of work, ordinary models, whether they are set up."""

from __future__ import annotations

from collections.abc import Iterable

from flowengine.catalog import Catalog
from flowengine.events import Json
from flowengine.providers.registry import Kind, offered
from flowengine.providers.settings import ProviderSettings


def provider_rows(values: ProviderSettings, catalog: Catalog) -> list[dict[str, Json]]:
    """One row for each provider, by name."""
    return [_row(name, kinds, values, catalog) for name, kinds in sorted(offered().items())]


def _row(
    name: str, kinds: Iterable[Kind], values: ProviderSettings, catalog: Catalog
) -> dict[str, Json]:
    """`does`: the ordinary model of each kind and the day it goes."""
    does: dict[str, Json] = {}
    for kind in kinds:
        model = catalog.default_model(name, kind)
        voice = catalog.default_voice(name) if kind == "tts" else ""
        known = catalog.model(name, kind, model or voice)
        sunset = known.sunset.isoformat() if known and known.sunset else None
        does[kind] = {"model": model or voice, "sunset": sunset}
    return {
        "name": name,
        "has_key": values.has_key(name),
        "is_set_up": values.is_set_up(name),
        "does": does,
    }
