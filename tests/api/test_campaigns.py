"""Campaigns and their contacts: lists of any length, every rejected row with its reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.api.service import Api, Asker, code_of

pytestmark = [pytest.mark.api, pytest.mark.anyio]

CAMPAIGN: dict[str, Any] = {
    "name": "Reminders",
    "settings": {
        "flow": "reminder",
        "tag": "production",
        "retries": [{"outcome": "busy", "after_s": 600, "at_most": 3}],
    },
}
LIST = (
    "phone,time_zone,name\r\n"
    "+4915112345678,Europe/Berlin,Zoë\r\n"
    '0151 1234 5679,,"Miller, Jr\n(second)"\r\n'
    "nobody,,x\r\n"
    "+4915112345678,,again\r\n"
    "+4915112345670,Europe/Atlantis,x\r\n"
    "+4915112345671,,x,y\r\n"
    "\r\n"
    "+4915112345672,,\r\n"
)


async def send(
    asker: Asker,
    path: str,
    content: bytes | AsyncIterator[bytes],
    kind: str = "text/csv",
) -> httpx2.Response:
    headers = {"authorization": f"Bearer {asker.key}", "content-type": kind}
    return await asker.http.post(f"/v1{path}", content=content, headers=headers)


async def a_campaign(api: Api) -> str:
    made = await api.ask("POST", "/campaigns", CAMPAIGN)
    assert made.status_code == 201, made.text
    return f"/campaigns/{made.json()['id']}"


async def test_a_campaign_is_made_changed_and_deleted(api: Api) -> None:
    path = await a_campaign(api)
    shown = await api.ask("GET", path)
    assert shown.json()["state"] == "draft"
    assert shown.json()["settings"]["window"] == {
        "days": ["mon", "tue", "wed", "thu", "fri"],
        "opens": "09:00",
        "closes": "18:00",
    }
    body = {**CAMPAIGN, "name": "Later"}
    changed = await api.ask("PUT", path, body, match=shown.headers["etag"])
    assert changed.json()["name"] == "Later"
    assert code_of(await api.ask("PUT", path, body, match=shown.headers["etag"]))[0] == 412
    await send(api.ask, f"{path}/contacts", LIST.encode())
    assert (await api.ask("DELETE", path, match="*")).status_code == 204
    assert code_of(await api.ask("GET", f"{path}/contacts")) == (404, "no_such_campaign")


@pytest.mark.parametrize(
    "settings",
    [
        {"flow": "x", "version": 1, "tag": "y"},
        {"flow": "x", "window": {"opens": "18:00", "closes": "09:00"}},
        {"flow": "x", "retries": [{"outcome": "busy", "after_s": 60, "at_most": 1}] * 2},
        {"flow": "x", "caller_ids": ["0151"]},
        {"flow": "x", "variables": {"a": "\0"}},
        {"flow": "x", "variables": {"a": 10**30}},
    ],
)
async def test_settings_that_make_no_sense_are_refused(
    api: Api, settings: dict[str, object]
) -> None:
    answer = await api.ask("POST", "/campaigns", {"name": "x", "settings": settings})
    assert code_of(answer) == (422, "invalid_request")


async def test_a_list_goes_in_and_every_rejected_row_is_told(api: Api) -> None:
    path = await a_campaign(api)
    answer = await send(api.ask, f"{path}/contacts?country=DE", LIST.encode())
    told = answer.json()
    assert (told["added"], told["known"], told["rejected_count"]) == (3, 1, 3)
    assert [(row["line"], row["code"]) for row in told["rejected"]] == [
        (5, "bad_phone"),
        (7, "bad_time_zone"),
        (8, "wrong_cells"),
    ]
    contacts = (await api.ask("GET", f"{path}/contacts")).json()["items"]
    assert {(row["phone"], row["time_zone"], row["variables"]["name"]) for row in contacts} == {
        ("+4915112345678", "Europe/Berlin", "Zoë"),
        ("+4915112345679", None, "Miller, Jr\n(second)"),
        ("+4915112345672", None, ""),
    }
    again = (await send(api.ask, f"{path}/contacts?country=DE", LIST.encode())).json()
    assert (again["added"], again["known"]) == (0, 4)
    assert (await api.ask("GET", f"{path}/progress")).json()["waiting"] == 3
    gone = await api.ask("DELETE", f"{path}/contacts/{contacts[0]['id']}")
    assert gone.status_code == 204
    assert (await api.ask("GET", f"{path}/progress")).json()["waiting"] == 2


async def test_lines_of_json_keep_the_types_of_their_values(api: Api) -> None:
    path = await a_campaign(api)
    lines = b'{"phone": "+4915112345678", "visits": 2, "tags": ["a"]}\nno json\n[1]\n'
    told = (await send(api.ask, f"{path}/contacts", lines, "application/x-ndjson")).json()
    assert (told["added"], [row["code"] for row in told["rejected"]]) == (1, ["bad_json"] * 2)
    (contact,) = (await api.ask("GET", f"{path}/contacts?state=waiting")).json()["items"]
    assert contact["variables"] == {"visits": 2, "tags": ["a"]}


@pytest.mark.parametrize(
    ("content", "kind", "refused"),
    [
        (b"a,b\n1,2\n", "text/csv", (422, "bad_list")),
        (b"phone,phone\n", "text/csv", (422, "bad_list")),
        (b"phone\n" + b"1" * 70_000, "text/csv", (422, "bad_list")),
        (b"{}", "application/json", (415, "unknown_list")),
    ],
)
async def test_a_list_that_cannot_be_read_is_refused(
    api: Api, content: bytes, kind: str, refused: tuple[int, str]
) -> None:
    path = await a_campaign(api)
    assert code_of(await send(api.ask, f"{path}/contacts", content, kind)) == refused


async def test_a_long_list_is_streamed(api: Api) -> None:
    path = await a_campaign(api)

    async def rows() -> AsyncIterator[bytes]:
        yield b"phone,n\n"
        for start in range(0, 5000, 50):
            yield "".join(f"+49151{12000000 + n},{n}\n" for n in range(start, start + 50)).encode()

    told = (await send(api.ask, f"{path}/contacts", rows())).json()
    assert (told["added"], told["rejected_count"]) == (5000, 0)


async def test_another_project_finds_none_of_it(api: Api) -> None:
    path = await a_campaign(api)
    await send(api.ask, f"{path}/contacts", LIST.encode())
    assert (await api.other("GET", "/campaigns")).json()["items"] == []
    for method, sub in (("GET", ""), ("DELETE", ""), ("GET", "/contacts"), ("GET", "/progress")):
        answer = await api.other(method, path + sub, match="*")
        assert code_of(answer) == (404, "no_such_campaign")
    answer = await send(api.other, f"{path}/contacts", LIST.encode())
    assert code_of(answer) == (404, "no_such_campaign")
    reader = await api.with_scopes("read")
    assert code_of(await reader("POST", "/campaigns", CAMPAIGN)) == (403, "missing_scope")
