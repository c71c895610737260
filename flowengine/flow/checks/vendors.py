"""What of a flow's vendors will not do: models that go, voices that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from flowengine.catalog import Catalog, Kind
from flowengine.flow.checks.subject import finding
from flowengine.flow.defaults import Defaults, LlmUse, ServiceUse, SttUse, TtsUse, Use
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.paths import at_index, at_key, root

_KINDS: dict[type[ServiceUse], Kind] = {SttUse: "stt", LlmUse: "llm", TtsUse: "tts"}
_SHORTEST_ID = 16


def vendor_findings(flow: Flow, catalog: Catalog, today: date) -> Iterator[Finding]:
    """Warnings about models and voices, by the catalog and on this day."""
    yield from _in_use(flow.defaults, at_key(root, "defaults"), None, catalog, today)
    for name, node in flow.nodes.items():
        if node.use is not None:
            path = at_key(at_key(at_key(root, "nodes"), name), "use")
            yield from _in_use(node.use, path, flow.defaults, catalog, today)


def _in_use(
    use: Use, path: str, defaults: Defaults | None, catalog: Catalog, today: date
) -> Iterator[Finding]:
    for key in ("stt", "llm", "tts"):
        service: ServiceUse | None = getattr(use, key)
        if service is None:
            continue
        outer: ServiceUse | None = getattr(defaults, key) if defaults else None
        provider = service.provider or (outer.provider if outer else None)
        here = at_key(path, key)
        yield from _service(service, provider, here, catalog, today)
        for number, item in enumerate(getattr(service, "fallback", None) or ()):
            place = at_index(at_key(here, "fallback"), number)
            yield from _service(item, item.provider or provider, place, catalog, today)


def _service(
    service: ServiceUse, provider: str | None, path: str, catalog: Catalog, today: date
) -> Iterator[Finding]:
    if provider is None:
        return
    kind = _KINDS[type(service)]
    name = service.model or (catalog.default_model(provider, kind) if service.provider else "")
    model = catalog.model(provider, kind, name) if name else None
    if model is not None and model.sunset is not None and model.goes_soon(today):
        is_gone = model.sunset <= today
        verb = "was shut down" if is_gone else "is shut down"
        advice = f"Name {model.successor!r}." if model.successor else "Name another model."
        place = at_key(path, "model") if service.model else path
        yield finding(
            "model_goes", place, f"{provider}'s {name!r} {verb} on {model.sunset}.", advice
        )
    if isinstance(service, TtsUse):
        yield from _voices(service, provider, path, catalog)


def _voices(tts: TtsUse, provider: str, path: str, catalog: Catalog) -> Iterator[Finding]:
    here = at_key(path, "voice")
    named = tts.voice if isinstance(tts.voice, dict) else {"": tts.voice or ""}
    known = sorted(item.name for item in catalog.voices if item.provider == provider)
    for language, voice in named.items():
        looks_like_id = len(voice) >= _SHORTEST_ID or any(map(str.isdigit, voice))
        if voice and known and not looks_like_id and catalog.voice(provider, voice) is None:
            yield finding(
                "unknown_voice",
                at_key(here, language) if language else here,
                f"{provider} has no stock voice {voice!r}, as far as the catalog knows.",
                f"Name a voice's id, or one of {', '.join(known)}.",
            )
