"""All of one caller is deleted by one request, and nothing of anybody else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from flowengine.store.identities import new_id
from flowengine.store.tables import Campaign, Contact, WebhookDelivery, WebhookEndpoint
from tests.api.service import Api, code_of
from tests.store.kept import everywhere, keep_call, kept

pytestmark = [pytest.mark.api, pytest.mark.anyio]

CALLER, OTHER, OURS = "+33600000001", "+33600000002", "+33100000001"
THEN = datetime(2026, 1, 2, tzinfo=UTC)


def folder_of(api: Api) -> Path:
    return api.service.engine.recordings.local.folder


async def keep_contact(api: Api, project_id: str, phone: str) -> None:
    now = api.service.now()
    campaign_id = new_id("camp", now)
    async with api.service.database.writing(None) as session:
        session.add(
            Campaign(
                id=campaign_id,
                project_id=project_id,
                name="x",
                state="draft",
                settings={},
                created_at=now,
                updated_at=now,
            )
        )
        await session.flush()
        session.add(
            Contact(
                id=new_id("cont", now),
                project_id=project_id,
                campaign_id=campaign_id,
                phone=phone,
                time_zone=None,
                state="waiting",
                attempts=0,
                next_at=None,
                variables={},
                created_at=now,
            )
        )


async def keep_delivery(api: Api, call_id: str, project_id: str = "default") -> None:
    now = api.service.now()
    endpoint_id = new_id("hook", now)
    async with api.service.database.writing(None) as session:
        session.add(
            WebhookEndpoint(
                id=endpoint_id,
                project_id=project_id,
                url="https://example.com",
                events=[],
                is_active=True,
                secret="",
                created_at=now,
                updated_at=now,
            )
        )
        await session.flush()
        session.add(
            WebhookDelivery(
                id=new_id("dlv", now),
                project_id=project_id,
                endpoint_id=endpoint_id,
                event_id="1",
                event_type="caller.spoke",
                body=f'{{"call_id":"{call_id}"}}',
                state="ok",
                attempts=1,
                next_at=None,
                last_status=200,
                last_error="",
                created_at=now,
            )
        )


async def test_nothing_of_a_caller_is_left(api: Api) -> None:
    database, folder = api.service.database, folder_of(api)
    outbound = {"direction": "outbound", "from_number": OURS}
    await keep_call(database, folder, "call_in", THEN)
    await keep_call(database, folder, "call_out", THEN, to_number=CALLER, **outbound)
    await keep_call(database, folder, "call_died", THEN, status="in_progress")
    await keep_call(database, folder, "call_more", THEN, from_number=OTHER)
    await keep_call(database, folder, "call_out2", THEN, to_number=OTHER, **outbound)
    await keep_call(database, folder, "call_theirs", THEN, project_id="other")
    for project_id, phone in (("default", CALLER), ("default", OTHER), ("other", CALLER)):
        await keep_contact(api, project_id, phone)
    for call_id, project_id in (
        ("call_in", "default"),
        ("call_more", "default"),
        ("call_in", "other"),
    ):
        await keep_delivery(api, call_id, project_id)

    answer = await api.ask("DELETE", f"/callers/{CALLER}")
    assert (answer.status_code, answer.json()) == (
        200,
        {"calls": 3, "recordings": 3, "contacts": 1},
    )
    left = await kept(database, folder)
    assert left == everywhere("call_more", "call_out2", "call_theirs")
    async with database.reading(None) as session:
        contacts = await session.execute(select(Contact.project_id, Contact.phone))
        assert set(map(tuple, contacts)) == {("default", OTHER), ("other", CALLER)}
        deliveries = await session.execute(select(WebhookDelivery.project_id, WebhookDelivery.body))
        assert set(map(tuple, deliveries)) == {
            ("default", '{"call_id":"call_more"}'),
            ("other", '{"call_id":"call_in"}'),
        }
    (noted,) = (await api.ask("GET", "/audit?action=caller.erased")).json()["items"]
    assert noted["detail"] == {"calls": 3, "contacts": 1}
    assert noted["resource"].startswith("caller/")
    assert CALLER[1:] not in str(noted)
    again = await api.ask("DELETE", f"/callers/{CALLER}")
    assert again.json() == {"calls": 0, "recordings": 0, "contacts": 0}


async def test_our_own_number_is_no_caller(api: Api) -> None:
    await keep_call(api.service.database, folder_of(api), "call_1", THEN)
    assert (await api.ask("DELETE", f"/callers/{OURS}")).json()["calls"] == 0
    assert await kept(api.service.database, folder_of(api)) == everywhere("call_1")


async def test_a_caller_on_the_line_is_not_erased(api: Api) -> None:
    database, folder = api.service.database, folder_of(api)
    await keep_call(database, folder, "call_1", api.service.now(), status="in_progress")
    await keep_call(database, folder, "call_2", THEN)
    refused = await api.ask("DELETE", f"/callers/{CALLER}")
    assert code_of(refused) == (409, "call_is_running")
    assert await kept(database, folder) == everywhere("call_1", "call_2")


async def test_who_may(api: Api) -> None:
    await keep_call(api.service.database, folder_of(api), "call_1", THEN)
    editor = await api.with_scopes("read", "call", "edit")
    assert code_of(await editor("DELETE", f"/callers/{CALLER}")) == (403, "missing_scope")
    assert (await api.other("DELETE", f"/callers/{CALLER}")).json()["calls"] == 0
    for wrong in ("33600000001", "+0123456789", "+1", "anonymous"):
        assert code_of(await api.ask("DELETE", f"/callers/{wrong}"))[0] == 422
    assert await kept(api.service.database, folder_of(api)) == everywhere("call_1")
