"""Keys into entries: what the caller keys, beside the keys that edges wait for.

Pure. A key string that an edge or a choice waits for counts at once, unless a longer one begins
with it: then the longer has the inter-digit time to come. While a value is keyed, only the first
key is tried against edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flowengine.nodes.stage import KeyPlan
from flowengine.runtime.waits import Waits

INTER_DIGIT_MS = 2000


@dataclass(frozen=True, slots=True)
class Keyed:
    """An entry is complete: for an `edge` (its key string), or for the `node` that listens."""

    to: Literal["edge", "node"]
    digits: str


class Keys:
    """Gathers one entry at a time. Its wait is `inter_digit`."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._entered = ""

    @property
    def entered(self) -> str:
        """Keys of the entry so far."""
        return self._entered

    def forget(self) -> None:
        self._entered = ""
        self._waits.stop("inter_digit")

    def press(
        self, digit: str, now_ms: int, plan: KeyPlan | None, edges: tuple[str, ...]
    ) -> Keyed | None:
        """Take a key; returns an entry when one is complete."""
        self._entered += digit
        if plan is not None and not plan.strings:
            return self._value_key(now_ms, plan, edges)
        return self._string_key(now_ms, plan, edges)

    def wait_passed(self, plan: KeyPlan | None, edges: tuple[str, ...]) -> Keyed | None:
        """The inter-digit time is over: what was keyed so far is the entry."""
        if not self._entered:
            return None
        if plan is not None and not plan.strings:
            return self._complete("node", self._entered)
        return self._settle(plan, edges)

    def _value_key(self, now_ms: int, plan: KeyPlan, edges: tuple[str, ...]) -> Keyed | None:
        is_first = len(self._entered) == 1
        if is_first and self._entered in edges:
            return self._complete("edge", self._entered)
        if plan.finish and self._entered.endswith(plan.finish):
            return self._complete("node", self._entered.removesuffix(plan.finish))
        if len(self._entered) >= plan.most:
            return self._complete("node", self._entered)
        self._waits.start("inter_digit", now_ms, INTER_DIGIT_MS)
        return None

    def _string_key(
        self, now_ms: int, plan: KeyPlan | None, edges: tuple[str, ...]
    ) -> Keyed | None:
        known = {*edges, *(plan.strings if plan else ())}
        if any(item != self._entered and item.startswith(self._entered) for item in known):
            self._waits.start("inter_digit", now_ms, INTER_DIGIT_MS)
            return None
        return self._settle(plan, edges)

    def _settle(self, plan: KeyPlan | None, edges: tuple[str, ...]) -> Keyed | None:
        entered = self._entered
        if plan is not None and entered in plan.strings:
            return self._complete("node", entered)
        if entered in edges:
            return self._complete("edge", entered)
        self.forget()
        return Keyed("node", entered) if plan is not None else None

    def _complete(self, to: Literal["edge", "node"], digits: str) -> Keyed:
        self.forget()
        return Keyed(to, digits)
