"""What is known of vendors' models and voices: prices, the day they go, what is ordinary.

One dated data file, `catalog.toml`; what a file named by `FLOWENGINE_CATALOG` says of an entry
stands in for what ours says. Money is decimal in the file and integer micro-dollars
(1 USD = 1,000,000) outside.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flowengine.errors import ConfigError
from flowengine.events import Usage

ENVIRONMENT = "FLOWENGINE_CATALOG"
SOON_DAYS = 90
"""A model that goes within so many days is warned of."""

Kind = Literal["stt", "llm", "tts", "s2s"]
Dollars = Annotated[Decimal, Field(ge=0)]
_SNAPSHOT = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
"""How vendors name the state of a model on a day."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Price(_Entry):
    """US dollars, from a day on and above so many tokens of input."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: date = Field(date.min, alias="from")
    above_in: int = 0
    in_: Dollars | None = Field(None, alias="in")
    cached_in: Dollars | None = None
    cache_write_in: Dollars | None = None
    cache_write_1h_in: Dollars | None = None
    audio_in: Dollars | None = None
    cached_audio_in: Dollars | None = None
    out: Dollars | None = None
    audio_out: Dollars | None = None
    minute: Dollars | None = None
    characters: Dollars | None = None
    add_ons: Mapping[str, Dollars] = Field(default_factory=dict)
    """For a minute on top of `minute`, by the names in `Usage.add_ons`."""


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
        fitting = [
            item
            for item in self.prices
            if item.from_ <= at and (tokens_in > item.above_in or not item.above_in)
        ]
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

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        _refuse_twice(
            ((item.provider, item.kind, item.name) for item in self.models), "stands twice"
        )
        _refuse_twice(((item.provider, item.id) for item in self.voices), "stands twice")
        ordinary = ((item.provider, item.kind) for item in self.models if item.default)
        _refuse_twice(ordinary, "has two default models")
        _refuse_twice(
            ((item.provider,) for item in self.voices if item.default), "has two default voices"
        )
        return self

    def models_of(self, provider: str, kind: Kind) -> list[Model]:
        """What a vendor has of a kind."""
        return [item for item in self.models if (item.provider, item.kind) == (provider, kind)]

    def model(self, provider: str, kind: Kind, name: str) -> Model | None:
        """What is known of a model; a dated snapshot is the model that it is of."""
        own = self.models_of(provider, kind)
        names = (name, _SNAPSHOT.sub("", name))
        exact = next(
            (item for word in names for item in own if item.name == word and not item.prefix), None
        )
        families = [item for item in own if item.prefix and name.startswith(item.name)]
        return exact or max(families, key=lambda item: len(item.name), default=None)

    def of_usage(self, usage: Usage) -> Model | None:
        """The model that was used; a usage does not say of what kind it is."""
        kinds: tuple[Kind, ...] = ("llm", "tts", "stt", "s2s")
        found = (self.model(usage.provider, kind, usage.model) for kind in kinds)
        return next((item for item in found if item is not None), None)

    def default_model(self, provider: str, kind: Kind) -> str:
        """A vendor's ordinary model; "" when none is known."""
        return next((item.name for item in self.models_of(provider, kind) if item.default), "")

    def default_voice(self, provider: str) -> str:
        """A vendor's ordinary voice, by its id; "" when none is known."""
        own = (item for item in self.voices if item.provider == provider)
        return next((item.id for item in own if item.default), "")

    def voice(self, provider: str, name: str) -> KnownVoice | None:
        """A stock voice, by its name or id."""
        own = (item for item in self.voices if item.provider == provider)
        return next(
            (item for item in own if name.lower() in (item.name.lower(), item.id.lower())), None
        )

    def nearest_voice(self, provider: str, like: KnownVoice | None, language: str) -> str:
        """The id of a vendor's voice most like another vendor's one; "" when none is known."""
        base = language.partition("-")[0]

        def likeness(item: KnownVoice) -> tuple[bool, bool, bool]:
            is_alike = like is not None and item.gender == like.gender
            return item.language in ("", base), is_alike, item.default

        own = [item for item in self.voices if item.provider == provider]
        return max(own, key=likeness).id if own else ""


Item = TypeVar("Item", Model, KnownVoice)


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
            rates = [price.minute, *map(price.add_ons.get, usage.add_ons)]
            minute = _sum(rates)
            return None if minute is None else minute * usage.amount_in * 1000 / 60
        case "characters":
            return None if price.characters is None else price.characters * usage.amount_in
        case "tokens":
            return _tokens(usage, price)


def _tokens(usage: Usage, price: Price) -> Decimal | None:
    """A cache without a price of its own costs what it would without the cache."""
    plain_in = usage.amount_in - usage.cached_in - usage.cache_write_in - usage.cache_write_1h_in
    parts = (
        (plain_in - usage.audio_in, price.in_),
        (usage.cached_in, _first(price.cached_in, price.in_)),
        (usage.cache_write_in, _first(price.cache_write_in, price.in_)),
        (usage.cache_write_1h_in, _first(price.cache_write_1h_in, price.in_)),
        (usage.audio_in - usage.cached_audio_in, price.audio_in),
        (usage.cached_audio_in, _first(price.cached_audio_in, price.audio_in)),
        (usage.amount_out - usage.audio_out, price.out),
        (usage.audio_out, price.audio_out),
    )
    return _sum(None if rate is None else rate * count for count, rate in parts if count)


def _first(rate: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if rate is None else rate


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """All together; None when one of them is not known."""
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def load_catalog(own: Path | None) -> Catalog:
    """The data file, with the operator's own entries in it. Raises ConfigError."""
    return shipped() if own is None else _merged(shipped(), own)


@cache
def shipped() -> Catalog:
    """The data file that comes with flowengine."""
    source = resources.files("flowengine").joinpath("catalog.toml").read_text(encoding="utf-8")
    return Catalog.model_validate(_document(source))


def _document(source: str) -> dict[str, Any]:
    return tomllib.loads(source, parse_float=Decimal)


def _merged(base: Catalog, path: Path) -> Catalog:
    fix = "It has the form of flowengine's own catalog.toml."
    try:
        document = {"checked": base.checked, **_document(path.read_text(encoding="utf-8"))}
        own = Catalog.model_validate(document)
        return Catalog(
            checked=own.checked,
            models=_over(base.models, own.models, ("provider", "kind", "name"), 2),
            voices=_over(base.voices, own.voices, ("provider", "id"), 1),
        )
    except (OSError, UnicodeDecodeError) as error:
        what = f"{path} cannot be read ({type(error).__name__})."
        raise ConfigError("no_catalog", what, where=ENVIRONMENT, fix=fix) from error
    except tomllib.TOMLDecodeError as error:
        what = f"{path} is no TOML: {error}."
        raise ConfigError("bad_catalog", what, where=ENVIRONMENT, fix=fix) from error
    except ValidationError as error:
        places = [_place(document, item["loc"], item["msg"]) for item in error.errors()]
        what = f"{path} does not hold what it must: {'; '.join(places)}."
        raise ConfigError("bad_catalog", what, where=ENVIRONMENT, fix=fix) from error


def _place(document: Any, loc: tuple[int | str, ...], message: str) -> str:
    """Where in the operator's file, with the entry's name, and what is wrong."""
    entry = document[loc[0]][loc[1]] if len(loc) > 1 else None
    name = entry.get("name") if isinstance(entry, dict) else None
    place = ".".join(map(str, loc)) + (f" ({name})" if name else "")
    reason = message.removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason


def _over(
    base: Iterable[Item], own: Iterable[Item], key: tuple[str, ...], of_default: int
) -> tuple[Item, ...]:
    """What an own entry says stands in for what ours of the same key says, and no more of it.

    An own default takes the place of ours, which has the same first `of_default` words of the key.
    """
    items = {tuple(getattr(item, name) for name in key): item for item in base}
    for item in own:
        place = tuple(getattr(item, name) for name in key)
        if item.default:
            for other, known in items.items():
                if other[:of_default] == place[:of_default]:
                    items[other] = known.model_copy(update={"default": False})
        said = {name: getattr(item, name) for name in item.model_fields_set}
        items[place] = items[place].model_copy(update=said) if place in items else item
    return tuple(items.values())


def _refuse_twice(keys: Iterable[tuple[str, ...]], what: str) -> None:
    seen = set[tuple[str, ...]]()
    for key in keys:
        if key in seen:
            raise ValueError(f"{' '.join(key)} {what}")
        seen.add(key)
