"""Tickets to listen to a call: sealed with the server's key, short-lived, good for one socket.

Any process makes one; that it is used once is seen to by the process that holds the call, which
alone can honour it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson

from flowengine.errors import CallError
from flowengine.tokens import ValueCipher

LIFE = timedelta(seconds=30)
_KIND = "listen"


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to listen to one call."""

    call_id: str
    project_id: str
    expires_at: datetime
    nonce: str

    @classmethod
    def made(cls, call_id: str, project_id: str, now: datetime) -> Ticket:
        """A new ticket."""
        return cls(call_id, project_id, now + LIFE, secrets.token_urlsafe(12))

    def sealed(self, cipher: ValueCipher) -> str:
        """As it is given out: letters, digits, `-`, `_` and `=`."""
        said = [_KIND, self.call_id, self.project_id, self.expires_at.timestamp(), self.nonce]
        return cipher.encrypt(orjson.dumps(said).decode())


@dataclass(slots=True)
class Tickets:
    """Those that were used here and would still be good."""

    _used: dict[str, datetime] = field(default_factory=dict)

    def used(self, text: str, cipher: ValueCipher, now: datetime) -> Ticket | None:
        """Use a ticket up; None when it is none, too old, or was used."""
        self._used = {nonce: until for nonce, until in self._used.items() if until > now}
        ticket = _opened(text, cipher)
        if ticket is None or ticket.expires_at <= now or ticket.nonce in self._used:
            return None
        self._used[ticket.nonce] = ticket.expires_at
        return ticket


def _opened(text: str, cipher: ValueCipher) -> Ticket | None:
    try:
        said = orjson.loads(cipher.decrypt(text))
    except (CallError, UnicodeEncodeError, orjson.JSONDecodeError):
        return None
    if not isinstance(said, list) or len(said) != 5 or said[0] != _KIND:
        return None
    _, call_id, project_id, expires, nonce = said
    return Ticket(call_id, project_id, datetime.fromtimestamp(expires, UTC), nonce)
