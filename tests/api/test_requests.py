"""What holds for every route: errors, pages, idempotency keys, bounds, headers, its document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowengine.api.gate import LONGEST_BODY
from tests.api.service import Api, Asker, an_api, code_of
from tests.databases import prepared_database

pytestmark = [pytest.mark.api, pytest.mark.anyio]

KEY = {"name": "CRM", "scopes": ["read"]}


@pytest.fixture
async def strict(tmp_path: Path, anyio_backend: object) -> AsyncIterator[Api]:
    with prepared_database("sqlite") as url:
        async with an_api(
            url,
            tmp_path,
            FLOWENGINE_API_RATE="3/hour",
            FLOWENGINE_CORS_ORIGINS="https://ops.example.com",
        ) as made:
            yield made


async def test_a_bad_body_is_told_what_where_and_why(api: Api) -> None:
    answer = await api.ask("POST", "/keys", {"name": "", "scopes": ["fly"], "colour": "red"})
    assert code_of(answer) == (422, "invalid_request")
    assert {wrong["path"] for wrong in answer.json()["errors"]} == {
        "/name",
        "/scopes/0",
        "/colour",
    }


async def test_paths_and_methods_that_there_are_not(api: Api) -> None:
    assert code_of(await api.ask("GET", "/nothing")) == (404, "no_such_path")
    assert code_of(await api.ask("PATCH", "/keys")) == (405, "method_not_allowed")


async def test_a_list_comes_in_pages(api: Api) -> None:
    for index in range(4):
        await api.ask("POST", "/keys", {"name": f"k{index}", "scopes": ["read"]})
    names, cursor = [], ""
    while True:
        page = (await api.ask("GET", f"/keys?limit=2{cursor}")).json()
        names += [row["name"] for row in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert names == ["first", "k0", "k1", "k2", "k3"]
    for cursor in ("!!", "AA=="):
        assert code_of(await api.ask("GET", f"/keys?cursor={cursor}")) == (400, "bad_cursor")
    assert code_of(await api.ask("GET", "/audit?cursor=YWJj")) == (400, "bad_cursor")


async def test_the_same_request_acts_once(api: Api) -> None:
    headers = {"idempotency-key": "one"}
    first = await api.ask("POST", "/keys", KEY, headers=headers)
    again = await api.ask("POST", "/keys", KEY, headers=headers)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await api.ask("GET", "/keys")).json()["items"]) == 2
    other = await api.ask("POST", "/keys", {**KEY, "name": "x"}, headers=headers)
    assert code_of(other) == (422, "idempotency_key_reused")
    theirs = await api.other("POST", "/keys", KEY, headers=headers)
    assert "idempotency-replayed" not in theirs.headers


async def test_a_request_that_was_refused_may_be_mended(api: Api) -> None:
    headers = {"idempotency-key": "one"}
    assert (await api.ask("POST", "/keys", {}, headers=headers)).status_code == 422
    assert (await api.ask("POST", "/keys", KEY, headers=headers)).status_code == 201


async def test_the_reply_that_is_kept_is_not_readable_in_the_store(api: Api) -> None:
    made = await api.ask("POST", "/keys", KEY, headers={"idempotency-key": "one"})
    async with api.service.database.reading(None) as session:
        rows = (await session.connection()).exec_driver_sql
        kept = (await rows("SELECT body FROM idempotent_reply")).scalar_one()
    assert made.json()["key"] not in kept


async def test_a_body_has_a_bound(api: Api) -> None:
    answer = await api.ask("POST", "/keys", {"name": "x" * LONGEST_BODY})
    assert code_of(answer) == (413, "body_too_long")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(LONGEST_BODY // 65_536 + 2):
            yield b"x" * 65_536

    streamed = await api.http.post(
        "/v1/keys", content=endless(), headers={"authorization": f"Bearer {api.ask.key}"}
    )
    assert code_of(streamed) == (413, "body_too_long")


async def test_answers_carry_headers_that_protect(api: Api) -> None:
    for answer in (await api.ask("GET", "/keys"), await api.ask("GET", "/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


async def test_a_key_may_ask_only_so_often(strict: Api) -> None:
    answers = [await strict.ask("GET", "/keys") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert code_of(answers[3]) == (429, "too_many_requests")
    assert int(answers[3].headers["retry-after"]) >= 1
    assert answers[0].headers["ratelimit-remaining"] == "2"
    assert (await strict.other("GET", "/keys")).status_code == 200
    assert (await strict.http.get("/healthz")).status_code == 200


async def test_pages_of_known_origins_may_ask(strict: Api) -> None:
    for origin, allowed in (
        ("https://ops.example.com", "https://ops.example.com"),
        ("https://evil.example.com", None),
    ):
        answer = await strict.http.options(
            "/v1/keys",
            headers={
                "origin": origin,
                "access-control-request-method": "GET",
                "access-control-request-headers": "authorization",
            },
        )
        assert answer.headers.get("access-control-allow-origin") == allowed


async def test_the_document_describes_every_refusal(api: Api) -> None:
    document = (await api.http.get("/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "Problem" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        if path.startswith("/v1/"):
            for method, operation in methods.items():
                assert operation["security"], (path, method)
                assert {"401", "403", "422", "429"} <= set(operation["responses"]), (path, method)


async def test_a_fault_of_ours_says_nothing_of_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("+4930123456 said something")

    monkeypatch.setattr("flowengine.api.access.holder_of", broken)
    answer = await Asker(api.http, api.ask.key)("GET", "/keys")
    assert code_of(answer) == (500, "internal")
    assert "+49" not in answer.text
