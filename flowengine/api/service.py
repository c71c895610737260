"""What the routes of the API work with, and how they get it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from flowengine.app import Engine
from flowengine.clock import Clock, RealClock
from flowengine.store.database import Database
from flowengine.tokens import ValueCipher


@dataclass(frozen=True, slots=True)
class Service:
    """One process's engine and store, as the API sees them."""

    engine: Engine
    database: Database
    cipher: ValueCipher
    clock: Clock = field(default_factory=RealClock)

    def now(self) -> datetime:
        """The time, aware."""
        return self.clock.wall()


def _service_of(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


TheService = Annotated[Service, Depends(_service_of)]
"""A parameter of a route: the service."""
