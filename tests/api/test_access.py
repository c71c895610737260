"""Keys, scopes, projects, and that a change is logged."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.api.service import Api, Asker, code_of

pytestmark = [pytest.mark.api, pytest.mark.anyio]


@pytest.mark.parametrize("key", ["", "nonsense", "fe_00000000_" + "A" * 43])
async def test_without_a_good_key_nothing_is_said(api: Api, key: str) -> None:
    answer = await Asker(api.http, key)("GET", "/projects")
    assert code_of(answer) == (401, "bad_key")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_is_made_used_rotated_and_revoked(api: Api) -> None:
    made = await api.ask("POST", "/keys", {"name": "CRM", "scopes": ["admin"]})
    assert made.status_code == 201
    crm = Asker(api.http, made.json()["key"])
    assert made.json()["key"].startswith(f"fe_{made.json()['prefix']}_")
    listed = (await crm("GET", "/keys")).json()["items"]
    assert {row["name"] for row in listed} == {"first", "CRM"}
    assert made.json()["key"] not in str(listed)
    rotated = await crm("POST", f"/keys/{made.json()['id']}/rotate", {})
    assert code_of(await crm("GET", "/keys")) == (401, "bad_key")
    fresh = Asker(api.http, rotated.json()["key"])
    shown = (await fresh("GET", f"/keys/{rotated.json()['id']}")).json()
    assert shown["last_used_at"] is not None
    assert (await api.ask("DELETE", f"/keys/{rotated.json()['id']}")).status_code == 204
    assert code_of(await fresh("GET", "/keys")) == (401, "bad_key")


async def test_an_old_key_lasts_for_the_overlap(api: Api) -> None:
    made = (await api.ask("POST", "/keys", {"name": "CRM", "scopes": ["admin"]})).json()
    await api.ask("POST", f"/keys/{made['id']}/rotate", {"overlap_s": 3600})
    shown = (await Asker(api.http, made["key"])("GET", f"/keys/{made['id']}")).json()
    assert datetime.fromisoformat(shown["expires_at"]) > datetime.now(UTC)


async def test_a_key_may_what_its_scopes_say(api: Api) -> None:
    reader = await api.with_scopes("read", "edit")
    assert (await reader("GET", "/projects")).status_code == 200
    assert code_of(await reader("GET", "/keys")) == (403, "missing_scope")
    assert code_of(await reader("GET", "/audit")) == (403, "missing_scope")


async def test_an_expired_key_is_none(api: Api) -> None:
    answer = await api.ask(
        "POST", "/keys", {"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}
    )
    assert code_of(answer) == (422, "expired")


async def test_projects_are_their_own_and_the_operators(api: Api) -> None:
    assert [row["id"] for row in (await api.ask("GET", "/projects")).json()["items"]] == [
        "default",
        "other",
    ]
    assert [row["id"] for row in (await api.other("GET", "/projects")).json()["items"]] == ["other"]
    assert code_of(await api.other("GET", "/projects/default")) == (404, "no_such_project")
    new = {"id": "clinic", "name": "Clinic"}
    assert code_of(await api.other("POST", "/projects", new)) == (403, "operator_only")
    made = await api.ask("POST", "/projects", new)
    assert made.status_code == 201
    theirs = Asker(api.http, made.json()["key"])
    assert [row["id"] for row in (await theirs("GET", "/projects")).json()["items"]] == ["clinic"]
    assert code_of(await api.ask("POST", "/projects", new)) == (409, "project_exists")
    deleted = await api.ask("DELETE", "/projects/clinic", match="*")
    assert deleted.status_code == 204
    assert code_of(await theirs("GET", "/projects")) == (401, "bad_key")


async def test_two_who_edit_one_project(api: Api) -> None:
    etag = (await api.other("GET", "/projects/other")).headers["etag"]
    body = {"name": "Renamed", "settings": {"retention": {"recordings": 30}}}
    assert code_of(await api.other("PUT", "/projects/other", body)) == (428, "no_if_match")
    first = await api.other("PUT", "/projects/other", body, match=etag)
    assert first.json()["settings"]["retention"]["recordings"] == 30
    second = await api.ask("PUT", "/projects/other", {"name": "Mine"}, match=etag)
    assert code_of(second) == (412, "changed_meanwhile")
    third = await api.ask("PUT", "/projects/other", {"name": "Mine"}, match=first.headers["etag"])
    assert third.json()["name"] == "Mine"


async def test_a_change_is_logged_with_whoever_made_it(api: Api) -> None:
    made = (await api.ask("POST", "/keys", {"name": "CRM", "scopes": ["read"]})).json()
    found = (await api.ask("GET", "/audit")).json()["items"]
    assert [(row["action"], row["resource"]) for row in found] == [
        ("key.created", f"key/{made['id']}")
    ]
    assert (await api.other("GET", "/audit")).json()["items"] == []
    assert (await api.ask("GET", "/audit?action=key.revoked")).json()["items"] == []
