"""Keys of the API: made with scopes, rotated, revoked; each is shown once, when it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path
from pydantic import AwareDatetime, Field
from sqlalchemy import select

from flowengine.api.access import Admin
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.texts import PlainText
from flowengine.store.audit import note
from flowengine.store.keys import Scope, issue
from flowengine.store.tables import ApiKey

router = group("keys")

KeyId = Annotated[str, Path(pattern=r"^key_[0-9a-f]{32}$")]


class NewKey(Body):
    """A key to be made."""

    name: PlainText = Field(min_length=1, max_length=100, examples=["CRM"])
    scopes: list[Scope] = Field(min_length=1, max_length=4, examples=[["read", "call"]])
    expires_at: AwareDatetime | None = None


class Rotation(Body):
    """How a key is replaced."""

    overlap_s: int = Field(
        default=0, ge=0, le=30 * 86_400, description="How long the old key is good for still."
    )


class KeyShown(Body):
    """A key, without its secret part."""

    id: str
    name: str
    prefix: str = Field(description="The key begins with `fe_` and this.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class KeyMade(KeyShown):
    """A new key."""

    key: str = Field(description="The key; it is shown this once.")


@router.get("/keys")
async def list_keys(service: TheService, by: Admin, pages: Pages) -> Page[KeyShown]:
    """The project's keys, also those that were revoked."""
    async with service.database.reading(by.project_id) as session:
        query = select(ApiKey).order_by(ApiKey.id).limit(pages.limit + 1)
        if pages.after is not None:
            query = query.where(ApiKey.id > pages.after)
        rows = (await session.scalars(query)).all()
    return pages.page(rows, lambda row: row.id, _shown)


@router.post("/keys", status_code=201)
async def create_key(service: TheService, by: Admin, body: NewKey) -> KeyMade:
    """Make a key."""
    now = service.now()
    if body.expires_at is not None and body.expires_at <= now:
        raise Refused(
            422,
            "expired",
            "The key would be too old at once.",
            where="/expires_at",
            fix="Give a time to come, or none.",
        )
    row, text = issue(by.project_id, body.name, list(body.scopes), now, body.expires_at)
    async with service.database.writing(by.project_id) as session:
        session.add(row)
        note(session, by, now, "key.created", f"key/{row.id}", {"scopes": list(body.scopes)})
    return KeyMade(**_shown(row).model_dump(), key=text)


@router.get("/keys/{key_id}", responses=refusals(404))
async def get_key(service: TheService, by: Admin, key_id: KeyId) -> KeyShown:
    """One key."""
    async with service.database.reading(by.project_id) as session:
        return _shown(_found(await session.get(ApiKey, key_id), key_id))


@router.post("/keys/{key_id}/rotate", status_code=201, responses=refusals(404, 409))
async def rotate_key(service: TheService, by: Admin, key_id: KeyId, body: Rotation) -> KeyMade:
    """Make a key like this one, and let the old one end now or after an overlap."""
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        old = _found(await session.get(ApiKey, key_id), key_id)
        if old.revoked_at is not None:
            raise Refused(409, "key_revoked", "The key was revoked; it cannot be rotated.")
        row, text = issue(by.project_id, old.name, list(old.scopes), now, old.expires_at)
        session.add(row)
        ends = datetime.fromtimestamp(now.timestamp() + body.overlap_s, now.tzinfo)
        old.expires_at = min(ends, old.expires_at or ends)
        note(session, by, now, "key.rotated", f"key/{key_id}", {"new": row.id})
    return KeyMade(**_shown(row).model_dump(), key=text)


@router.delete("/keys/{key_id}", status_code=204, responses=refusals(404))
async def revoke_key(service: TheService, by: Admin, key_id: KeyId) -> None:
    """Revoke a key, at once. The row stays, for the log of changes."""
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        row = _found(await session.get(ApiKey, key_id), key_id)
        row.revoked_at = row.revoked_at or now
        note(session, by, now, "key.revoked", f"key/{key_id}")


def _found(row: ApiKey | None, key_id: str) -> ApiKey:
    if row is None:
        raise not_found("key", key_id)
    return row


def _shown(row: ApiKey) -> KeyShown:
    return KeyShown(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=row.scopes,  # type: ignore[arg-type]  # pydantic checks them
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
