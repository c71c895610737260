"""What of a flow's vendors will not do.

Providers, models and voices that nobody knows, and models that go.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from flowengine.catalog import Catalog, Kind
from flowengine.flow.checks.subject import finding
from flowengine.flow.defaults import Defaults, LlmUse, ServiceUse, SttUse, TtsUse, Use
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_index, at_key, root

_KINDS: dict[type[ServiceUse], Kind] = {SttUse: "stt", LlmUse: "llm", TtsUse: "tts"}
_DOES: dict[Kind, str] = {"stt": "hears", "llm": "thinks", "tts": "speaks"}
Offered = Mapping[str, Collection[Kind]]
"""What can be named here, and what each does."""
_SHORTEST_ID = 16
_SHOWN = 12


def vendor_findings(
    flow: Flow, catalog: Catalog, today: date, offered: Offered | None = None
) -> Iterator[Finding]:
    """Findings about providers, models and voices, by the catalog and on this day.

    `offered`: the providers that are there; None: not known.
    """
    look = _Look(catalog, today, offered)
    yield from _in_use(flow.defaults, at_key(root, "defaults"), None, look)
    for name, node in flow.nodes.items():
        if node.use is not None:
            path = at_key(at_key(at_key(root, "nodes"), name), "use")
            yield from _in_use(node.use, path, flow.defaults, look)


_NOT_OF_FALLBACKS = {
    "fallback": "List all fallbacks beside each other, in order.",
    "pronunciation": "Write it beside the first choice: it is applied to whoever speaks.",
}


@dataclass(frozen=True, slots=True)
class _Look:
    catalog: Catalog
    today: date
    offered: Offered | None


def _in_use(use: Use, path: str, defaults: Defaults | None, look: _Look) -> Iterator[Finding]:
    for key in ("stt", "llm", "tts"):
        service: ServiceUse | None = getattr(use, key)
        if service is None:
            continue
        outer: ServiceUse | None = getattr(defaults, key) if defaults else None
        provider = service.provider or (outer.provider if outer else None)
        here = at_key(path, key)
        yield from _service(service, provider, here, look)
        for number, item in enumerate(getattr(service, "fallback", None) or ()):
            place = at_index(at_key(here, "fallback"), number)
            yield from _service(item, item.provider or provider, place, look)
            yield from _unused(item, place)


def _service(
    service: ServiceUse, provider: str | None, path: str, look: _Look
) -> Iterator[Finding]:
    if provider is None:
        return
    kind = _KINDS[type(service)]
    if look.offered is not None and kind not in look.offered.get(provider, ()):
        if service.provider:
            yield _not_offered(provider, kind, at_key(path, "provider"), look.offered)
        return
    yield from _model(service, provider, path, look)
    if isinstance(service, TtsUse):
        yield from _voices(service, provider, path, look.catalog)


def _unused(item: ServiceUse, path: str) -> Iterator[Finding]:
    """Keys of a fallback that do nothing: those of the first choice are what counts."""
    for key, fix in _NOT_OF_FALLBACKS.items():
        if getattr(item, key, None) is not None:
            message = f"The {key!r} of a fallback is not used."
            yield finding("unused_key", at_key(path, key), message, fix)


def _not_offered(provider: str, kind: Kind, path: str, offered: Offered) -> Finding:
    able = sorted(name for name, kinds in offered.items() if kind in kinds)
    fix = f"Those that do are {', '.join(able)}."
    if provider in offered:
        message = f"The provider {provider!r} is none that {_DOES[kind]}."
        return finding("wrong_kind", path, message, fix)
    near = difflib.get_close_matches(provider, able, n=1)
    fix = f"Did you mean {near[0]!r}?" if near else fix
    return finding("unknown_provider", path, f"There is no provider {provider!r}.", fix)


def _model(service: ServiceUse, provider: str, path: str, look: _Look) -> Iterator[Finding]:
    catalog, kind = look.catalog, _KINDS[type(service)]
    name = service.model or (catalog.default_model(provider, kind) if service.provider else "")
    model = catalog.model(provider, kind, name) if name else None
    if model is None and kind == "llm" and name:
        # A model that hears and speaks stands where an LLM does.
        model = catalog.model(provider, "s2s", name)
    place = at_key(path, "model") if service.model else path
    if model is None:
        if name:
            yield from _unknown(name, provider, kind, place, catalog)
    elif model.sunset is not None and model.goes_soon(look.today):
        verb = "was shut down" if model.sunset <= look.today else "is shut down"
        advice = f"Name {model.successor!r}." if model.successor else "Name another model."
        message = f"{provider}'s {name!r} {verb} on {model.sunset}."
        yield finding("model_goes", place, message, advice)


def _unknown(
    name: str, provider: str, kind: Kind, path: str, catalog: Catalog
) -> Iterator[Finding]:
    """Nothing is said of vendors of which the catalog prices no model: servers of one's own."""
    known = [item.name for item in catalog.models_of(provider, kind) if not item.prefix]
    if not any(item.prices for item in catalog.models_of(provider, kind)):
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    yield finding(
        "unknown_model",
        path,
        f"The catalog does not know {provider}'s {name!r}: neither its price nor whether it goes.",
        f"{hint}A model of your own is entered in FLOWENGINE_CATALOG.",
    )


def _voices(tts: TtsUse, provider: str, path: str, catalog: Catalog) -> Iterator[Finding]:
    here = at_key(path, "voice")
    named = tts.voice if isinstance(tts.voice, dict) else {"": tts.voice or ""}
    known = sorted(item.name for item in catalog.voices if item.provider == provider)
    for language, voice in named.items():
        if not voice or not known or _may_be_id(voice) or catalog.voice(provider, voice):
            continue
        if catalog.model(provider, "tts", voice):
            continue
        near = difflib.get_close_matches(voice.lower(), known, n=1)
        names = f"{near[0]!r}" if near else f"one of {', '.join(known[:_SHOWN])} …"
        yield finding(
            "unknown_voice",
            at_key(here, language) if language else here,
            f"{provider} has no stock voice {voice!r}, as far as the catalog knows.",
            f"Name a voice's id, or {names}.",
        )


def _may_be_id(voice: str) -> bool:
    """Own and cloned voices are named by ids, which are long or hold digits."""
    return len(voice) >= _SHORTEST_ID or any(map(str.isdigit, voice))
