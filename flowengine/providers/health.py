"""How the providers of a process are: attempts, failures, how fast they answer, open breakers."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime

from flowengine.catalog import Kind
from flowengine.errors import ProviderError
from flowengine.events import Json
from flowengine.providers.breaker import Breaker

_OF_MODEL = frozenset({"deadline", "overloaded", "rate_limit", "stalled"})
"""Codes that tell something of a model: vendors size, limit and lose them one by one. Keys, credit,
and a host that cannot be reached, breaks off or answers with a 500 are the provider's."""
_KEPT = 200
"""Latencies that the percentiles are of."""


class Health:
    """One provider doing one kind of work, over all calls."""

    def __init__(self, provider: str, kind: Kind) -> None:
        self.provider = provider
        self.kind = kind
        self.breaker = Breaker()
        self._models: dict[str, Breaker] = {}
        """Of the models that ever failed by themselves."""
        self.succeeded = 0
        self.failures: Counter[str] = Counter()
        self._latencies: deque[int] = deque(maxlen=_KEPT)
        self._last_failure = ""

    def allows(self, model: str = "") -> bool:
        """Whether it should be asked before others now, for this model."""
        now_ms = _now_ms()
        breakers = [self.breaker, *filter(None, [self._models.get(model)])]
        # Leave to probe is asked of none while another says no.
        is_open = any(breaker.state(now_ms) == "open" for breaker in breakers)
        return not is_open and all(breaker.allows(now_ms) for breaker in breakers)

    def did_well(self, latency_ms: int, model: str = "") -> None:
        """It did all that it was asked, and began to so long after it was asked."""
        self.succeeded += 1
        self._latencies.append(latency_ms)
        self.breaker.succeeded()
        self._models.pop(model, None)

    def did_fail(self, error: ProviderError, model: str = "") -> None:
        self.failures[error.code] += 1
        self._last_failure = f"{error.code} at {datetime.now(UTC).isoformat(timespec='seconds')}"
        if model and (error.is_model_unknown or error.code in _OF_MODEL):
            self._models.setdefault(model, Breaker()).failed(error, _now_ms())
        elif not error.is_model_unknown:
            self.breaker.failed(error, _now_ms())

    def to_json(self) -> dict[str, Json]:
        """Latencies are to the first token (LLM), the first audio (voice), open (recogniser).

        `models`: those that are kept away from, though others of the provider may be well.
        """
        now_ms = _now_ms()
        states = {model: breaker.state(now_ms) for model, breaker in self._models.items()}
        return {
            "provider": self.provider,
            "kind": self.kind,
            "breaker": self.breaker.state(now_ms),
            "models": {model: state for model, state in states.items() if state != "closed"},
            "succeeded": self.succeeded,
            "failures": dict(self.failures),
            "last_failure": self._last_failure,
            "latency_p50_ms": self._percentile(50),
            "latency_p95_ms": self._percentile(95),
        }

    def _percentile(self, percent: int) -> int | None:
        ordered = sorted(self._latencies)
        return ordered[(len(ordered) - 1) * percent // 100] if ordered else None


class HealthBook:
    """The health of every provider that was ever used."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Kind], Health] = {}

    def of(self, provider: str, kind: Kind) -> Health:
        return self._entries.setdefault((provider, kind), Health(provider, kind))

    def skipped(self, asked: Sequence[tuple[str, str]], kind: Kind) -> frozenset[int]:
        """The places of those that should be asked after the others; none if that were all.

        `asked`: provider and model.
        """
        # A probe is one attempt: nobody is asked for leave twice, nor behind one who has it.
        refused = set[int]()
        for place, (provider, model) in enumerate(asked):
            if self.of(provider, kind).allows(model):
                break
            refused.add(place)
        return frozenset() if len(refused) == len(asked) else frozenset(refused)

    def told(self) -> list[dict[str, Json]]:
        return [self._entries[key].to_json() for key in sorted(self._entries)]


def _now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
