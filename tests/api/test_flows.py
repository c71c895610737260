"""Flows by the API: drafts that may be wrong, versions that never change, tags, diff, drawings."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.service import Api, code_of
from tests.runtime.flows import MENU

pytestmark = [pytest.mark.api, pytest.mark.anyio]

BROKEN = {**MENU, "start": "nowhere"}
INNER: dict[str, Any] = {
    "flow": "1",
    "id": "inner",
    "start": "done",
    "nodes": {"done": {"kind": "return", "as": "ok"}},
    "edges": [],
}
OUTER: dict[str, Any] = {
    "flow": "1",
    "id": "outer",
    "start": "call",
    "nodes": {
        "call": {"kind": "flow", "flow": "inner"},
        "bye": {"kind": "hangup", "say": "Goodbye."},
    },
    "edges": [{"from": "call", "on": ["ok", "failed"], "to": "bye"}],
}


async def drafted(api: Api, document: dict[str, Any]) -> str:
    """Make or change a draft; returns its ETag."""
    made = await api.ask("POST", "/flows", {"document": document})
    if made.status_code == 409:
        path = f"/flows/{document['id']}"
        made = await api.ask("PUT", path, {"document": document}, match="*")
    assert made.status_code in (200, 201), made.text
    return str(made.headers["etag"])


async def published(api: Api, document: dict[str, Any], **body: Any) -> dict[str, Any]:
    etag = await drafted(api, document)
    answer = await api.ask("POST", f"/flows/{document['id']}/publish", body, match=etag)
    assert answer.status_code == 201, answer.text
    version: dict[str, Any] = answer.json()
    return version


async def test_a_draft_may_be_wrong_and_is_not_published(api: Api) -> None:
    made = await api.ask("POST", "/flows", {"document": BROKEN})
    assert made.status_code == 201
    assert made.json()["published"] is None
    assert any(one["severity"] == "error" for one in made.json()["findings"])
    checked = (await api.ask("POST", "/flows/front-desk/check")).json()
    assert (checked["findings"], checked["hash"]) == (made.json()["findings"], "")
    refused = await api.ask("POST", "/flows/front-desk/publish", {}, match="*")
    assert code_of(refused) == (422, "draft_has_errors")
    assert refused.json()["errors"][0]["path"].startswith("$")
    assert (await api.ask("GET", "/flows/front-desk")).json()["draft"] == BROKEN


async def test_two_editors_on_one_draft(api: Api) -> None:
    etag = await drafted(api, MENU)
    mine = await api.ask("PUT", "/flows/front-desk", {"document": BROKEN}, match=etag)
    assert mine.status_code == 200
    theirs = await api.ask("PUT", "/flows/front-desk", {"document": MENU}, match=etag)
    assert code_of(theirs) == (412, "changed_meanwhile")
    late = await api.ask("POST", "/flows/front-desk/publish", {}, match=etag)
    assert code_of(late) == (412, "changed_meanwhile")
    assert (await api.ask("GET", "/flows/front-desk")).json()["draft"] == BROKEN


async def test_versions_never_change_and_go_back_into_the_draft(api: Api) -> None:
    first = await published(api, MENU, message="first", tags=["production"])
    again = await api.ask("POST", "/flows/front-desk/publish", {}, match="*")
    assert code_of(again) == (409, "nothing_to_publish")
    second = await published(api, {**MENU, "name": "Front desk"}, tags=["production"])
    assert (first["number"], second["number"]) == (1, 2)
    listed = (await api.ask("GET", "/flows/front-desk/versions")).json()["items"]
    assert [(row["number"], row["message"], row["tags"]) for row in listed] == [
        (2, "", ["production"]),
        (1, "first", []),
    ]
    shown = (await api.ask("GET", "/flows/front-desk/versions/1")).json()
    assert (shown["document"], shown["hash"]) == (MENU, first["hash"])
    etag = (await api.ask("GET", "/flows/front-desk")).headers["etag"]
    await api.ask("POST", "/flows/front-desk/versions/1/restore", match=etag)
    flow = (await api.ask("GET", "/flows/front-desk")).json()
    assert (flow["draft"], flow["published"]) == (MENU, 2)
    (row,) = (await api.ask("GET", "/flows")).json()["items"]
    assert (row["id"], row["published"]) == ("front-desk", 2)


async def test_a_version_pins_the_flows_that_it_calls(api: Api) -> None:
    await drafted(api, OUTER)
    refused = await api.ask("POST", "/flows/outer/publish", {}, match="*")
    assert code_of(refused) == (422, "draft_has_errors")
    await published(api, INNER)
    assert (await published(api, OUTER))["subflows"] == {"inner": 1}
    changed = {**INNER, "nodes": {"done": {"kind": "return", "as": "ok", "note": "new"}}}
    await published(api, {**changed, "name": "newer"})
    ready = await api.service.engine.published.get("default", "outer")
    assert ready.version.subflows == {"inner": 1}
    await api.ask("POST", "/flows/outer/publish", {}, match="*")
    ready = await api.service.engine.published.get("default", "outer")
    assert (ready.version.number, ready.version.subflows) == (2, {"inner": 2})


async def test_tags_are_moved_by_who_knows_where_they_are(api: Api) -> None:
    await published(api, MENU)
    await published(api, {**MENU, "name": "newer"})
    path = "/flows/front-desk/tags/production"
    assert code_of(await api.ask("GET", path)) == (404, "no_such_tag")
    made = await api.ask("PUT", path, {"version": 1}, match="*")
    assert made.json()["version"] == 1
    moved = await api.ask("PUT", path, {"version": 2}, match=made.headers["etag"])
    assert moved.json()["version"] == 2
    stale = await api.ask("PUT", path, {"version": 1}, match=made.headers["etag"])
    assert code_of(stale) == (412, "changed_meanwhile")
    none = await api.ask("PUT", path, {"version": 3}, match="*")
    assert code_of(none) == (404, "no_such_version")
    assert [row["tag"] for row in (await api.ask("GET", "/flows/front-desk/tags")).json()["items"]]
    assert (await api.ask("DELETE", path, match="*")).status_code == 204
    assert (await api.ask("GET", "/flows/front-desk/tags")).json()["items"] == []


async def test_what_differs_between_versions(api: Api) -> None:
    await published(api, MENU)
    nodes = {**MENU["nodes"], "late": {"kind": "hangup", "say": "Too late."}}
    nodes["bye"] = {**nodes["bye"], "say": "See you."}
    edges = [*MENU["edges"][1:], {"from": "welcome", "on": "error", "to": "late"}]
    await drafted(api, {**MENU, "nodes": nodes, "edges": edges, "name": "new"})
    answer = await api.ask("GET", "/flows/front-desk/diff?before=1")
    assert [(one["what"], one["change"], one["path"]) for one in answer.json()["items"]] == [
        ("node", "changed", "$.nodes.bye.say"),
        ("node", "added", "$.nodes.late"),
        ("edge", "removed", "$.edges[0]"),
        ("edge", "added", "$.edges[6]"),
        ("part", "added", "$.name"),
    ]
    same = await api.ask("GET", "/flows/front-desk/diff?before=1&after=1")
    assert same.json()["items"] == []


@pytest.mark.parametrize(
    ("form", "kind", "begins"),
    [("svg", "image/svg+xml", "<svg"), ("mermaid", "text/plain", "flowchart"), ("dot", "", "")],
)
async def test_a_flow_is_drawn(api: Api, form: str, kind: str, begins: str) -> None:
    await drafted(api, BROKEN)
    answer = await api.ask("GET", f"/flows/front-desk/drawing?format={form}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert begins in answer.text[:400] and "welcome" in answer.text


async def test_any_document_is_checked_and_nothing_stored(api: Api) -> None:
    good = (await api.ask("POST", "/check", {"document": MENU})).json()
    assert good["hash"] and all(one["severity"] == "warning" for one in good["findings"])
    tool = {"kind": "python", "function": "os:getcwd", "description": "Where we are."}
    bad = (await api.ask("POST", "/check", {"document": {**MENU, "tools": {"w": tool}}})).json()
    assert "unknown_function" in {one["code"] for one in bad["findings"]}
    sound = {
        **MENU,
        "nodes": {**MENU["nodes"], "welcome": {"kind": "say", "say": {"audio": "x.wav"}}},
    }
    assert (await api.ask("POST", "/check", {"document": sound})).json()["hash"] == ""
    assert (await api.ask("GET", "/flows")).json()["items"] == []


@pytest.mark.parametrize("document", [{}, {"id": ""}, {"id": "a/b"}, {"id": "x", "a": "\0"}])
async def test_a_document_without_a_good_id_is_no_flow(api: Api, document: object) -> None:
    assert (await api.ask("POST", "/flows", {"document": document})).status_code == 422


async def test_another_project_finds_none_of_it(api: Api) -> None:
    await published(api, MENU, tags=["production"])
    assert (await api.other("GET", "/flows")).json()["items"] == []
    for method, path in (
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/check"),
        ("GET", "/versions"),
        ("GET", "/versions/1"),
        ("GET", "/tags"),
        ("GET", "/tags/production"),
        ("GET", "/drawing"),
        ("GET", "/diff?before=1&after=1"),
    ):
        body = {"document": MENU} if method == "PUT" else None
        answer = await api.other(method, f"/flows/front-desk{path}", body, match="*")
        assert answer.status_code == 404, (method, path)
    made = await api.other("POST", "/flows", {"document": MENU})
    assert made.status_code == 201
    reader = await api.with_scopes("read")
    refused = await reader("POST", "/flows/front-desk/publish", {}, match="*")
    assert code_of(refused) == (403, "missing_scope")
