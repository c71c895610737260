"""Which rules of a table a caller's number can meet at all, without looking at every one.

Most rules of a long table name numbers: they are found by the number, in a few look-ups. A rule is
left out only when its own `caller` says so; whether one of the others holds is not said here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from flowengine.runtime.routes import RouteTable


class RuleIndex:
    """The rules of a table by the numbers, lists and prefixes that they name."""

    def __init__(self, table: RouteTable, lists: Mapping[str, frozenset[str]]) -> None:
        self._always: list[int] = []
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._prefix: dict[str, list[int]] = defaultdict(list)
        listed: dict[str, list[int]] = defaultdict(list)
        for index, rule in enumerate(table.rules):
            caller = rule.when.caller
            if caller is not None and caller.exact is not None:
                _enter(self._exact, caller.exact, index)
            elif caller is not None and caller.list is not None:
                listed[caller.list].append(index)
            elif caller is not None and caller.prefix is not None:
                _enter(self._prefix, caller.prefix, index)
            else:
                self._always.append(index)
        self._lists = [(lists[name], rules) for name, rules in listed.items()]
        self._lengths = sorted({len(prefix) for prefix in self._prefix})

    def candidates(self, number: str) -> list[int]:
        """The places of the rules that may hold for a caller, in the table's order."""
        return sorted({*self._always, *self._found(number)})

    def _found(self, number: str) -> Iterator[int]:
        if not number:
            return
        yield from self._exact.get(number, ())
        for numbers, rules in self._lists:
            if number in numbers:
                yield from rules
        for length in self._lengths:
            yield from self._prefix.get(number[:length], ())


def _enter(places: dict[str, list[int]], names: tuple[str, ...], index: int) -> None:
    for name in names:
        places[name].append(index)
