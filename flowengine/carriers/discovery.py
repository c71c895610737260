"""Finds the carriers: the modules of this package, and entry points of other packages.

A carrier's module has `from_settings(settings, switchboard)`, which gives the carrier, or None
when it is not set up. Another package names such a function in the entry point group
`flowengine.carriers`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points

from flowengine import carriers
from flowengine.ports import Carrier, Switchboard
from flowengine.settings import Settings

ENTRY_POINTS = "flowengine.carriers"

FromSettings = Callable[[Settings, Switchboard], Carrier | None]


def load_carriers(settings: Settings, switchboard: Switchboard) -> list[Carrier]:
    """Every carrier that is set up, by name."""
    found = [make(settings, switchboard) for make in _makers()]
    return sorted((c for c in found if c is not None), key=lambda carrier: carrier.name)


def _makers() -> list[FromSettings]:
    makers: list[FromSettings] = []
    for module in pkgutil.iter_modules(carriers.__path__, f"{carriers.__name__}."):
        make = getattr(importlib.import_module(module.name), "from_settings", None)
        if make is not None:
            makers.append(make)
    makers.extend(point.load() for point in entry_points(group=ENTRY_POINTS))
    return makers
