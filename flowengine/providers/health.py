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

_KEPT = 200
"""Latencies that the percentiles are of."""


class Health:
    """One provider doing one kind of work, over all calls."""

    def __init__(self, provider: str, kind: Kind) -> None:
        self.provider = provider
        self.kind = kind
        self.breaker = Breaker()
        self.succeeded = 0
        self.failures: Counter[str] = Counter()
        self._latencies: deque[int] = deque(maxlen=_KEPT)
        self._last_failure = ""

    def allows(self) -> bool:
        """Whether it should be asked before others now."""
        return self.breaker.allows(_now_ms())

    def did_well(self, latency_ms: int) -> None:
        """It began to answer, spoke or opened, so long after it was asked."""
        self.succeeded += 1
        self._latencies.append(latency_ms)
        self.breaker.succeeded()

    def did_fail(self, error: ProviderError) -> None:
        self.failures[error.code] += 1
        self._last_failure = f"{error.code} at {datetime.now(UTC).isoformat(timespec='seconds')}"
        self.breaker.failed(error, _now_ms())

    def to_json(self) -> dict[str, Json]:
        """Latencies are to the first token (LLM), the first audio (voice), open (recogniser)."""
        return {
            "provider": self.provider,
            "kind": self.kind,
            "breaker": self.breaker.state(_now_ms()),
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

    def skipped(self, providers: Sequence[str], kind: Kind) -> frozenset[int]:
        """The places of those that should be asked after the others; none if that were all."""
        # A probe is one attempt: nobody is asked for leave twice, nor behind one who has it.
        refused = set[int]()
        for place, provider in enumerate(providers):
            if self.of(provider, kind).allows():
                break
            refused.add(place)
        return frozenset() if len(refused) == len(providers) else frozenset(refused)

    def told(self) -> list[dict[str, Json]]:
        return [self._entries[key].to_json() for key in sorted(self._entries)]


def _now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
