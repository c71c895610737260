"""What the routes of the API work with, and how they get it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from flowengine.api.tickets import Tickets
from flowengine.app import Engine
from flowengine.store.database import Database
from flowengine.tokens import ValueCipher


@dataclass(frozen=True, slots=True)
class Service:
    """One process's engine and its store, as the API sees them."""

    engine: Engine
    tickets: Tickets = field(default_factory=Tickets)

    @property
    def database(self) -> Database:
        """Where everything is kept."""
        return self.engine.database

    @property
    def cipher(self) -> ValueCipher:
        """Encrypts what nobody may read in the store."""
        return self.engine.cipher

    def now(self) -> datetime:
        """The time, aware."""
        return self.engine.clock.wall()


def _service_of(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


TheService = Annotated[Service, Depends(_service_of)]
"""A parameter of a route: the service."""
