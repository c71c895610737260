"""Figures beside their limits, as the benches print them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; without a limit it is for information."""

    name: str
    value: float
    unit: str = ""
    limit: float | None = None
    at_least: bool = False
    """The limit is the least that is wanted, not the most."""

    @property
    def is_missed(self) -> bool:
        if self.limit is None:
            return False
        return self.value < self.limit if self.at_least else self.value > self.limit

    def row(self) -> str:
        sign = ">=" if self.at_least else "<="
        wanted = "" if self.limit is None else f"{sign} {self.limit:g}"
        verdict = "" if self.limit is None else ("MISSED" if self.is_missed else "ok")
        return f"  {self.name:<52} {self.value:>9.1f} {self.unit:<4} {wanted:>9}  {verdict}"


def show(title: str, figures: Iterable[Figure]) -> int:
    """Print a table; how many limits were missed."""
    rows = list(figures)
    print(f"\n{title}")
    for figure in rows:
        print(figure.row())
    return sum(figure.is_missed for figure in rows)


def machine() -> str:
    """Where this was measured, and what else the machine was doing."""
    loads = " ".join(f"{load:.2f}" for load in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; load average {loads} (1, 5, 15 minutes)"
    )
