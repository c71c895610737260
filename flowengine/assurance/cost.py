"""What a call cost: every usage in its journal, by the prices of its day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from flowengine.assurance.why import Timed
from flowengine.catalog import Catalog, CostLine, cost_of
from flowengine.events import Json, UsageCounted


@dataclass(frozen=True, slots=True)
class CallCost:
    """Lines by provider, model and whether it was wasted; totals in micro-dollars."""

    lines: tuple[CostLine, ...]

    @property
    def micro_usd(self) -> int:
        """All that is known; lines without a price are not in it."""
        return sum(line.micro_usd or 0 for line in self.lines)

    @property
    def wasted_micro_usd(self) -> int:
        return sum(line.micro_usd or 0 for line in self.lines if line.usage.wasted)

    @property
    def is_whole(self) -> bool:
        """Whether every line has a price."""
        return all(line.micro_usd is not None for line in self.lines)

    def to_json(self) -> dict[str, Json]:
        return {
            "micro_usd": self.micro_usd,
            "wasted_micro_usd": self.wasted_micro_usd,
            "is_whole": self.is_whole,
            "lines": [line.model_dump() for line in self.lines],
        }

    def to_text(self) -> str:
        """A table for people."""
        rows = [
            f"{'provider':<12} {'model':<24} {'in':>10} {'out':>8} {'unit':<10} {'USD':>10}",
        ]
        for line in self.lines:
            usage = line.usage
            notes = [f"with {name}" for name in usage.add_ons]
            notes += [word for word in ("estimated", "wasted") if getattr(usage, word)]
            money = "–" if line.micro_usd is None else dollars(line.micro_usd)
            why = [line.reason] if line.reason else []
            rows.append(
                f"{usage.provider:<12} {usage.model:<24} {usage.amount_in:>10} "
                f"{usage.amount_out:>8} {usage.unit:<10} {money:>10}  {' '.join(notes + why)}"
            )
        whole = "" if self.is_whole else " and what has no price"
        rows.append(
            f"{dollars(self.micro_usd)} USD in all{whole}, "
            f"of it {dollars(self.wasted_micro_usd)} in vain"
        )
        return "\n".join(row.rstrip() for row in rows)


def call_cost(facts: Sequence[Timed], catalog: Catalog, at: date) -> CallCost:
    """The cost of a call by its facts; each usage is priced by itself, as requests are billed."""
    lines: dict[tuple[str, str, str, tuple[str, ...], bool, bool, str], CostLine] = {}
    for _, fact in facts:
        if not isinstance(fact, UsageCounted):
            continue
        line = cost_of(fact.usage, catalog, at)
        usage = line.usage
        kind = (usage.provider, usage.model, usage.unit, usage.add_ons)
        key = (*kind, usage.estimated, usage.wasted, line.reason)
        before = lines.get(key)
        lines[key] = line if before is None else _added(before, line)
    return CallCost(tuple(lines[key] for key in sorted(lines)))


def _added(one: CostLine, other: CostLine) -> CostLine:
    is_known = one.micro_usd is not None and other.micro_usd is not None
    total = (one.micro_usd or 0) + (other.micro_usd or 0) if is_known else None
    return CostLine(usage=one.usage.plus(other.usage), micro_usd=total, reason=one.reason)


def dollars(micro_usd: int) -> str:
    """Micro-dollars as dollars, to the last of them."""
    return f"{micro_usd // 1_000_000}.{micro_usd % 1_000_000:06d}"
