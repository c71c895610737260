"""Finds providers by name: the built-in files here and the entry points `flowengine.providers`.

A provider is a module with one or more of `make_stt(settings)`, `make_llm(settings)` and
`make_tts(settings)`; its name is that of its file or entry point. Each is made once for a process
(`Providers`), so that calls share clients and connections.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import entry_points
from typing import Literal, Protocol, cast, overload, runtime_checkable

from flowengine.errors import ConfigError
from flowengine.ports import Llm, Stt, Tts
from flowengine.providers.settings import ProviderSettings

Kind = Literal["stt", "llm", "tts"]
GROUP = "flowengine.providers"
_KINDS: tuple[Kind, ...] = ("stt", "llm", "tts")
_MAKES = re.compile(r"^(def |from .*|    )make_(stt|llm|tts)\b.*$", re.MULTILINE)


@runtime_checkable
class Closes(Protocol):
    """A provider that holds connections of the process."""

    async def aclose(self) -> None: ...


def provider_names() -> list[str]:
    """Every provider that can be named in a flow; nothing is imported for it."""
    return sorted(offered())


def offered() -> dict[str, tuple[Kind, ...]]:
    """Every provider and what it does; nothing is imported, so other packages' may do all."""
    others = dict.fromkeys((point.name for point in entry_points(group=GROUP)), _KINDS)
    return {**others, **_built_in()}


def provider_kinds(name: str) -> tuple[Kind, ...]:
    """What a provider does. Raises ConfigError: `unknown_provider`, `missing_extra`."""
    module = _module(name)
    return tuple(kind for kind in _KINDS if hasattr(module, f"make_{kind}"))


@overload
def provider(kind: Literal["stt"], name: str, settings: ProviderSettings) -> Stt: ...
@overload
def provider(kind: Literal["llm"], name: str, settings: ProviderSettings) -> Llm: ...
@overload
def provider(kind: Literal["tts"], name: str, settings: ProviderSettings) -> Tts: ...
def provider(kind: Kind, name: str, settings: ProviderSettings) -> Stt | Llm | Tts:
    """Make a provider.

    Raises ConfigError: `unknown_provider`, `wrong_kind` (it does not do this), `missing_key`,
    `missing_extra` (its package is not installed).
    """
    module = _module(name)
    make = getattr(module, f"make_{kind}", None)
    if make is None:
        raise ConfigError(
            "wrong_kind",
            f"provider {name!r} offers no {kind}",
            where=name,
            fix="Name a provider that does.",
        )
    return cast("Stt | Llm | Tts", make(settings))


class Providers:
    """A process's providers, each made on first use."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._made: dict[tuple[Kind, str], Stt | Llm | Tts] = {}

    def stt(self, name: str) -> Stt:
        return cast("Stt", self._get("stt", name))

    def llm(self, name: str) -> Llm:
        return cast("Llm", self._get("llm", name))

    def tts(self, name: str) -> Tts:
        return cast("Tts", self._get("tts", name))

    async def aclose(self) -> None:
        """Close what they hold."""
        for made in self._made.values():
            if isinstance(made, Closes):
                await made.aclose()
        self._made.clear()

    def _get(self, kind: Kind, name: str) -> Stt | Llm | Tts:
        key = (kind, name)
        if key not in self._made:
            self._made[key] = provider(kind, name, self._settings)
        return self._made[key]


@functools.cache
def _built_in() -> Mapping[str, tuple[Kind, ...]]:
    """The files and folders here that make a provider, told by their text, not by importing."""
    found: dict[str, tuple[Kind, ...]] = {}
    for entry in resources.files(__package__).iterdir():
        source = entry / "__init__.py" if entry.is_dir() else entry
        if not source.is_file() or not source.name.endswith(".py"):
            continue
        lines = _MAKES.finditer(source.read_text(encoding="utf-8"))
        made = {kind for line in lines for kind in _KINDS if f"make_{kind}" in line[0]}
        if made:
            found[entry.name.removesuffix(".py")] = tuple(kind for kind in _KINDS if kind in made)
    return found


def _module(name: str) -> object:
    try:
        if name in _built_in():
            return importlib.import_module(f"{__package__}.{name}")
        for point in entry_points(group=GROUP, name=name):
            return cast("object", point.load())
    except ModuleNotFoundError as error:
        raise ConfigError(
            "missing_extra",
            f"provider {name!r} needs the package {error.name}, which is not installed",
            where=name,
            fix=f"Install it, for example with pip install 'flowengine[{name}]'.",
        ) from error
    raise ConfigError(
        "unknown_provider",
        f"there is no provider {name!r}",
        where=name,
        fix=f"Known are {', '.join(provider_names())}.",
    )
