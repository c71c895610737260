"""Secrets that tools' requests name as `{{ secrets.name }}`: set, never read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Response
from pydantic import Field, SecretStr
from sqlalchemy import select

from flowengine.api.access import Admin, Reader
from flowengine.api.concurrency import IfMatch, tag
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.store.audit import note
from flowengine.store.tables import Secret

router = group("secrets")

SecretName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,59}$", examples=["crm_token"])]


class SecretBody(Body):
    """A secret's value."""

    value: SecretStr = Field(min_length=1, max_length=8000)


class SecretShown(Body):
    """A secret, without its value."""

    name: str
    updated_at: datetime


@router.get("/secrets")
async def list_secrets(service: TheService, by: Reader, pages: Pages) -> Page[SecretShown]:
    """The names of the project's secrets."""
    query = select(Secret).order_by(Secret.name).limit(pages.limit + 1)
    if pages.after is not None:
        query = query.where(Secret.name > pages.after)
    async with service.database.reading(by.project_id) as session:
        rows = (await session.scalars(query)).all()
    return pages.page(rows, lambda row: row.name, _shown)


@router.put("/secrets/{name}", responses=refusals(409, 412, 428))
async def set_secret(
    service: TheService,
    by: Admin,
    name: SecretName,
    body: SecretBody,
    match: IfMatch,
    response: Response,
) -> SecretShown:
    """Set a secret; calls that begin from now on use it. `If-Match: *` makes one."""
    if not service.engine.settings.secret_key.get_secret_value():
        raise Refused(
            409,
            "no_secret_key",
            "This server encrypts with a random key, which is gone when it stops.",
            fix="Set FLOWENGINE_SECRET_KEY, or set the secret in the server's environment.",
        )
    now = service.now()
    async with service.database.writing(by.project_id) as session:
        row = await session.get(Secret, (by.project_id, name))
        match.check(0 if row is None else row.version)
        if row is None:
            row = Secret(project_id=by.project_id, name=name, ciphertext="", updated_at=now)
            session.add(row)
        row.ciphertext = service.cipher.encrypt(body.value.get_secret_value())
        row.updated_at = now
        note(session, by, now, "secret.set", f"secret/{name}")
    tag(response, row.version)
    return _shown(row)


@router.delete("/secrets/{name}", status_code=204, responses=refusals(404, 412, 428))
async def delete_secret(service: TheService, by: Admin, name: SecretName, match: IfMatch) -> None:
    """Delete a secret; tools that name it fail from now on."""
    async with service.database.writing(by.project_id) as session:
        row = await session.get(Secret, (by.project_id, name))
        if row is None:
            raise not_found("secret", name)
        match.check(row.version)
        await session.delete(row)
        note(session, by, service.now(), "secret.deleted", f"secret/{name}")


def _shown(row: Secret) -> SecretShown:
    return SecretShown(name=row.name, updated_at=row.updated_at)
