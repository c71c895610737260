"""Webhook endpoints: made, changed by the version that was read, their secrets shown once."""

from __future__ import annotations

import pytest

from flowengine.store.identities import new_id
from flowengine.store.tables import WebhookDelivery, WebhookEndpoint
from tests.api.service import Api, code_of

pytestmark = [pytest.mark.api, pytest.mark.anyio]

ENDPOINT = {"url": "https://crm.example.com/calls", "events": ["call.ended", "transfer.*"]}


async def test_an_endpoint_is_made_changed_and_deleted(api: Api) -> None:
    made = await api.ask("POST", "/webhook-endpoints", ENDPOINT)
    assert made.status_code == 201
    path = f"/webhook-endpoints/{made.json()['id']}"
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    shown = await api.ask("GET", path)
    assert secret not in shown.text
    assert shown.headers["etag"] == made.headers["etag"]
    body = {**ENDPOINT, "is_active": False}
    assert code_of(await api.ask("PUT", path, body)) == (428, "no_if_match")
    changed = await api.ask("PUT", path, body, match=shown.headers["etag"])
    assert changed.json()["is_active"] is False
    assert code_of(await api.ask("PUT", path, body, match=shown.headers["etag"]))[0] == 412
    rotated = await api.ask("POST", f"{path}/rotate-secret", match=changed.headers["etag"])
    assert rotated.json()["secret"] != secret
    async with api.service.database.reading("default") as session:
        row = await session.get(WebhookEndpoint, made.json()["id"])
    assert row is not None
    assert api.service.cipher.decrypt(row.secret) == rotated.json()["secret"]
    assert (await api.ask("DELETE", path, match="*")).status_code == 204
    assert code_of(await api.ask("GET", path)) == (404, "no_such_webhook_endpoint")
    actions = [row["action"] for row in (await api.ask("GET", "/audit")).json()["items"]]
    assert actions == [
        "webhook_endpoint.deleted",
        "webhook_endpoint.secret_rotated",
        "webhook_endpoint.changed",
        "webhook_endpoint.created",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://crm.example.com"},
        {"url": "https://me:pw@crm.example.com"},
        {"url": "https://crm.example.com/\0"},
        {**ENDPOINT, "events": []},
        {**ENDPOINT, "events": ["Call Ended"]},
    ],
)
async def test_what_cannot_be_told_is_refused(api: Api, body: dict[str, object]) -> None:
    answer = await api.ask("POST", "/webhook-endpoints", body)
    assert code_of(answer) == (422, "invalid_request")


async def test_deliveries_come_latest_first_and_by_state(api: Api) -> None:
    made = (await api.ask("POST", "/webhook-endpoints", ENDPOINT)).json()
    now = api.service.now()
    async with api.service.database.writing("default") as session:
        for index in range(3):
            session.add(
                WebhookDelivery(
                    id=new_id("dlv", now),
                    project_id="default",
                    endpoint_id=made["id"],
                    event_id=f"event_{index}",
                    event_type="call.ended",
                    body="{}",
                    state="dead" if index == 1 else "ok",
                    attempts=1,
                    next_at=None,
                    last_status=500 if index == 1 else 200,
                    last_error="",
                    created_at=now,
                )
            )
    path = f"/webhook-endpoints/{made['id']}/deliveries"
    assert len((await api.ask("GET", path)).json()["items"]) == 3
    (dead,) = (await api.ask("GET", f"{path}?state=dead")).json()["items"]
    assert (dead["event_id"], dead["last_status"]) == ("event_1", 500)
    page = (await api.ask("GET", f"{path}?limit=2")).json()
    rest = (await api.ask("GET", f"{path}?limit=2&cursor={page['next']}")).json()
    seen = [row["id"] for row in (*page["items"], *rest["items"])]
    assert seen == sorted(seen, reverse=True) and len(seen) == 3


async def test_another_project_finds_none_of_it(api: Api) -> None:
    made = await api.ask("POST", "/webhook-endpoints", ENDPOINT)
    path = f"/webhook-endpoints/{made.json()['id']}"
    assert (await api.other("GET", "/webhook-endpoints")).json()["items"] == []
    for method, sub in (("GET", ""), ("DELETE", ""), ("GET", "/deliveries")):
        answer = await api.other(method, path + sub, match="*")
        assert code_of(answer) == (404, "no_such_webhook_endpoint")
    reader = await api.with_scopes("read", "call")
    assert code_of(await reader("DELETE", path, match="*")) == (403, "missing_scope")
