"""Keys of the API: `fe_<8 of the id>_<43 random>`; the store holds a SHA-256 of the whole.

A key has 256 random bits, so no slow hash is needed: one check takes microseconds.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.ids import DEFAULT_PROJECT
from flowengine.store.database import Database
from flowengine.store.identities import new_id
from flowengine.store.tables import ApiKey, Project

Scope = Literal["read", "call", "edit", "admin"]
"""`read` sees everything but secrets, `call` places and steers calls, `edit` changes what calls
run, `admin` does all of it and hands out keys."""

_SHAPE = re.compile(r"fe_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_SEEN_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks: the key, its project, and what it may do."""

    key_id: str
    project_id: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether the key has this scope; `admin` has all."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_operator(self) -> bool:
        """Whether it is an admin of the first project: who runs this server."""
        return "admin" in self.scopes and self.project_id == DEFAULT_PROJECT


def issue(
    project_id: str,
    name: str,
    scopes: list[str],
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key's row, and the key itself, which is shown once and stored nowhere."""
    prefix = secrets.token_hex(4)
    text = f"fe_{prefix}_{secrets.token_urlsafe(32)}"
    row = ApiKey(
        id=new_id("key", now),
        project_id=project_id,
        name=name,
        prefix=prefix,
        sha256=_hashed(text),
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
        last_used_at=None,
        revoked_at=None,
    )
    return row, text


async def holder_of(database: Database, text: str, now: datetime) -> Holder | None:
    """Whose key this is; None when it is none, was revoked or is too old. Raises StoreError."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    async with database.reading(None) as session:
        row = await session.scalar(select(ApiKey).where(ApiKey.prefix == shape[1]))
    if row is None or not hmac.compare_digest(row.sha256, _hashed(text)):
        return None
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.last_used_at is None or now - row.last_used_at >= _SEEN_EVERY:
        async with database.writing(None) as session:
            await session.execute(
                update(ApiKey).where(ApiKey.id == row.id).values(last_used_at=now)
            )
    return Holder(row.id, row.project_id, frozenset(row.scopes))


async def first_key(session: AsyncSession, now: datetime) -> str | None:
    """Make the first project and its admin key, unless there are keys; returns it, once."""
    if await session.get(Project, DEFAULT_PROJECT) is None:
        session.add(Project(id=DEFAULT_PROJECT, name="Default", settings={}, created_at=now))
        await session.flush()
    if await session.scalar(select(ApiKey.id).limit(1)) is not None:
        return None
    row, text = issue(DEFAULT_PROJECT, "first", ["admin"], now)
    session.add(row)
    return text


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
