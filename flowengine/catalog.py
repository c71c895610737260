"""What is known of vendors' models and voices: prices, the day they go, what is ordinary.

One dated data file, `catalog.toml`, which a file named by `FLOWENGINE_CATALOG` overrides entry by
entry. Money is decimal in the file and integer micro-dollars (1 USD = 1,000,000) outside.
"""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flowengine.errors import ConfigError
from flowengine.events import Usage

ENVIRONMENT = "FLOWENGINE_CATALOG"
SOON_DAYS = 90
"""A model that goes within so many days is warned of."""

Kind = Literal["stt", "llm", "tts"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Entry):
    """US dollars, from a day on and above so many tokens of input."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: date = Field(date.min, alias="from")
    above_in: int = 0
    in_: Decimal | None = Field(None, alias="in", ge=0)
    cached_in: Decimal | None = Field(None, ge=0)
    cache_write_in: Decimal | None = Field(None, ge=0)
    cache_write_1h_in: Decimal | None = Field(None, ge=0)
    audio_in: Decimal | None = Field(None, ge=0)
    cached_audio_in: Decimal | None = Field(None, ge=0)
    out: Decimal | None = Field(None, ge=0)
    audio_out: Decimal | None = Field(None, ge=0)
    minute: Decimal | None = Field(None, ge=0)
    characters: Decimal | None = Field(None, ge=0)


class Model(_Entry):
    """A vendor's model; `prefix`: every model whose name begins so."""

    provider: str
    kind: Kind
    name: str
    prefix: bool = False
    default: bool = False
    sunset: date | None = None
    successor: str = ""
    source: str = ""
    prices: tuple[Price, ...] = ()

    def price(self, at: date, tokens_in: int) -> Price | None:
        """The price on a day for a request of this size."""
        fitting = [item for item in self.prices if item.from_ <= at and tokens_in >= item.above_in]
        return max(fitting, key=lambda item: (item.above_in, item.from_), default=None)

    def goes_soon(self, today: date) -> bool:
        """Whether it is gone, or goes within `SOON_DAYS`."""
        return self.sunset is not None and (self.sunset - today).days <= SOON_DAYS


class KnownVoice(_Entry):
    """A vendor's stock voice; an empty language: it speaks what its model does."""

    provider: str
    id: str
    name: str
    gender: Literal["female", "male", "neutral"]
    language: str = ""
    default: bool = False


class Catalog(_Entry):
    """The data file."""

    checked: date
    models: tuple[Model, ...] = ()
    voices: tuple[KnownVoice, ...] = ()

    def model(self, provider: str, kind: Kind, name: str) -> Model | None:
        """What is known of a model."""
        own = [item for item in self.models if (item.provider, item.kind) == (provider, kind)]
        exact = next((item for item in own if item.name == name and not item.prefix), None)
        families = [item for item in own if item.prefix and name.startswith(item.name)]
        return exact or max(families, key=lambda item: len(item.name), default=None)

    def of_usage(self, usage: Usage) -> Model | None:
        """The model that was used; a usage does not say of what kind it is."""
        kinds: tuple[Kind, ...] = ("llm", "tts", "stt")
        found = (self.model(usage.provider, kind, usage.model) for kind in kinds)
        return next((item for item in found if item is not None), None)

    def default_model(self, provider: str, kind: Kind) -> str:
        """A vendor's ordinary model; "" when none is known."""
        own = (item for item in self.models if (item.provider, item.kind) == (provider, kind))
        return next((item.name for item in own if item.default), "")

    def default_voice(self, provider: str) -> str:
        """A vendor's ordinary voice, by its id; "" when none is known."""
        own = (item for item in self.voices if item.provider == provider)
        return next((item.id for item in own if item.default), "")

    def voice(self, provider: str, name: str) -> KnownVoice | None:
        """A stock voice, by its name or id."""
        own = (item for item in self.voices if item.provider == provider)
        return next((item for item in own if name.lower() in (item.name, item.id.lower())), None)

    def voice_ids(self, provider: str) -> dict[str, str]:
        """The ids of a vendor's stock voices by their names."""
        return {item.name: item.id for item in self.voices if item.provider == provider}

    def nearest_voice(self, provider: str, like: KnownVoice | None, language: str) -> str:
        """The id of a vendor's voice most like another vendor's one; "" when none is known."""
        base = language.partition("-")[0]

        def likeness(item: KnownVoice) -> tuple[bool, bool, bool]:
            is_alike = like is not None and item.gender == like.gender
            return item.language in ("", base), is_alike, item.default

        own = [item for item in self.voices if item.provider == provider]
        return max(own, key=likeness).id if own else ""


class CostLine(_Entry):
    """What one piece of work cost; `micro_usd` None: not known, for `reason`."""

    usage: Usage
    micro_usd: int | None
    reason: str = ""


def cost_of(usage: Usage, catalog: Catalog, at: date) -> CostLine:
    """The cost of a usage by the prices of that day, rounded to a micro-dollar."""
    if usage.provider == "local":
        return CostLine(usage=usage, micro_usd=0)
    model = catalog.of_usage(usage)
    if model is None:
        return CostLine(usage=usage, micro_usd=None, reason="unknown_model")
    price = model.price(at, usage.amount_in if usage.unit == "tokens" else 0)
    amount = None if price is None else _amount(usage, price)
    if amount is None:
        return CostLine(usage=usage, micro_usd=None, reason="no_price")
    return CostLine(usage=usage, micro_usd=int(amount.quantize(Decimal(1), ROUND_HALF_UP)))


def _amount(usage: Usage, price: Price) -> Decimal | None:
    """In micro-dollars: a dollar for a million tokens is one for each."""
    match usage.unit:
        case "audio_ms":
            return None if price.minute is None else price.minute * usage.amount_in * 1000 / 60
        case "characters":
            return None if price.characters is None else price.characters * usage.amount_in
        case "tokens":
            return _tokens(usage, price)


def _tokens(usage: Usage, price: Price) -> Decimal | None:
    if price.in_ is None or price.out is None:
        return None
    apart = usage.cached_in + usage.cache_write_in + usage.cache_write_1h_in + usage.audio_in
    parts = (
        (usage.amount_in - apart, price.in_),
        (usage.cached_in, price.cached_in),
        (usage.cache_write_in, price.cache_write_in),
        (usage.cache_write_1h_in, price.cache_write_1h_in),
        (usage.audio_in - usage.cached_audio_in, price.audio_in),
        (usage.cached_audio_in, price.cached_audio_in),
        (usage.amount_out - usage.audio_out, price.out),
    )
    total = sum(
        (count * (price.in_ if rate is None else rate) for count, rate in parts), Decimal(0)
    )
    return total + usage.audio_out * (price.out if price.audio_out is None else price.audio_out)


def load_catalog(own: Path | None) -> Catalog:
    """The data file, with the operator's own entries in it. Raises ConfigError."""
    return shipped() if own is None else _merged(shipped(), _read_own(own))


@cache
def shipped() -> Catalog:
    """The data file that comes with flowengine."""
    source = resources.files("flowengine").joinpath("catalog.toml").read_text(encoding="utf-8")
    return Catalog.model_validate(tomllib.loads(source))


def _read_own(path: Path) -> Catalog:
    fix = "It has the form of flowengine's own catalog.toml."
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Catalog.model_validate({"checked": shipped().checked, **document})
    except (OSError, UnicodeDecodeError) as error:
        what = f"{path} cannot be read ({type(error).__name__})."
        raise ConfigError("no_catalog", what, where=ENVIRONMENT, fix=fix) from error
    except tomllib.TOMLDecodeError as error:
        what = f"{path} is no TOML: {error}."
        raise ConfigError("bad_catalog", what, where=ENVIRONMENT, fix=fix) from error
    except ValidationError as error:
        places = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        what = f"{path} does not hold what it must: {'; '.join(places)}."
        raise ConfigError("bad_catalog", what, where=ENVIRONMENT, fix=fix) from error


def _merged(base: Catalog, own: Catalog) -> Catalog:
    """The operator's entries stand in for ours of the same name, his defaults for ours."""
    models = {(item.provider, item.kind, item.name): item for item in base.models}
    for item in own.models:
        if item.default:
            for key, other in models.items():
                if key[:2] == (item.provider, item.kind) and other.default:
                    models[key] = other.model_copy(update={"default": False})
        models[item.provider, item.kind, item.name] = item
    voices = {(item.provider, item.id): item for item in base.voices}
    for voice in own.voices:
        if voice.default:
            for place, known in voices.items():
                if place[0] == voice.provider and known.default:
                    voices[place] = known.model_copy(update={"default": False})
        voices[voice.provider, voice.id] = voice
    return Catalog(
        checked=own.checked, models=tuple(models.values()), voices=tuple(voices.values())
    )
