"""Numbers by the API, their routing tables, and why a call goes where it does."""

from __future__ import annotations

from typing import Any

import pytest

from flowengine.ids import CallId
from flowengine.ports import CallOffer
from flowengine.runtime.supervisor import Begin
from tests.api.service import Api, code_of
from tests.api.test_flows import published
from tests.runtime.flows import MENU, TRANSFER

pytestmark = [pytest.mark.api, pytest.mark.anyio]

TABLE: dict[str, Any] = {
    "routes": "1",
    "timezone": "Europe/Berlin",
    "calendars": {"office": {"weekly": {"mon-fri": ["09:00-17:00"]}, "holidays": "DE"}},
    "rules": [
        {
            "name": "open",
            "when": {"calendar": {"open": "office"}},
            "to": {"flow": "front-desk", "tag": "production"},
        }
    ],
    "last": {"flow": "switchboard"},
}
NUMBER = "+4930123456"


async def a_number(api: Api) -> str:
    await published(api, MENU, tags=["production"])
    await published(api, TRANSFER)
    body = {"e164": "+49 30 123456", "label": "Front desk", "routes": TABLE}
    made = await api.ask("POST", "/numbers", body)
    assert made.status_code == 201, made.text
    assert made.json()["e164"] == NUMBER
    return str(made.headers["etag"])


async def test_a_number_is_answered_by_what_it_was_given(api: Api) -> None:
    etag = await a_number(api)
    dispatch = api.service.engine.dispatch
    offer = CallOffer("twilio", "CA1", "inbound", "+4915112345678", NUMBER)
    begin = await dispatch.choose(offer, CallId("call_1"))
    assert isinstance(begin, Begin)
    assert begin.project_id == "default"
    table = {"routes": "1", "last": {"flow": "front-desk", "version": 1}}
    changed = await api.ask("PUT", f"/numbers/{NUMBER}/routes", {"routes": table}, match=etag)
    assert changed.status_code == 200, changed.text
    begin = await dispatch.choose(offer, CallId("call_2"))
    assert isinstance(begin, Begin)
    assert (begin.program.flow.id, begin.flow_version) == ("front-desk", 1)
    stale = await api.ask("PUT", f"/numbers/{NUMBER}/routes", {"routes": TABLE}, match=etag)
    assert code_of(stale) == (412, "changed_meanwhile")
    in_use = await api.ask("DELETE", "/flows/front-desk", match="*")
    assert code_of(in_use) == (409, "flow_in_use")
    assert (await api.ask("DELETE", f"/numbers/{NUMBER}", match="*")).status_code == 204
    assert (await api.ask("DELETE", "/flows/front-desk", match="*")).status_code == 204


async def test_why_a_call_goes_where_it_does(api: Api) -> None:
    await a_number(api)
    path = f"/numbers/{NUMBER}/routes/explain"
    open_ = await api.ask("POST", path, {"at": "2026-11-26T10:00:00+01:00"})
    assert open_.status_code == 200, open_.text
    assert open_.json()["rule"] == "open"
    holiday = (await api.ask("POST", path, {"at": "2026-12-25T10:00:00+01:00"})).json()
    assert (holiday["rule"], holiday["to"]) == ("last", {"flow": "switchboard"})
    assert holiday["rules"][0]["verdict"] == "failed"
    assert holiday["calendars"][0]["open"] is False
    other = {"routes": "1", "last": {"refuse": "busy"}}
    tried = await api.ask("POST", path, {"routes": other, "caller": "+4915112345678"})
    assert tried.json()["to"] == {"refuse": "busy"}
    late = await api.ask("POST", path, {"at": "9999-12-31T23:59:59-12:00"})
    assert late.status_code in (200, 422)


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({"routes": "1"}, "missing"),
        ({"routes": "1", "last": {"flow": "gone"}}, "not_published"),
        ({"routes": "1", "last": {"flow": "front-desk", "tag": "test"}}, "not_published"),
        ({"routes": "1", "last": {"flow": "front-desk", "version": 9}}, "not_published"),
        (
            {"routes": "1", "last": {"flow": "front-desk", "variables": {"x": 1}}},
            "unknown_input",
        ),
        (
            {
                "routes": "1",
                "rules": [{**TABLE["rules"][0], "when": {"calendar": {"open": "x"}}}],
                "last": {"refuse": "busy"},
            },
            "unknown_calendar",
        ),
    ],
)
async def test_a_table_with_errors_is_refused_with_all_of_them(
    api: Api, table: dict[str, Any], code: str
) -> None:
    await a_number(api)
    answer = await api.ask("PUT", f"/numbers/{NUMBER}/routes", {"routes": table}, match="*")
    assert code_of(answer) == (422, "bad_routes")
    assert code in str(answer.json()["errors"])
    assert (await api.ask("GET", f"/numbers/{NUMBER}/routes")).json()["routes"] == TABLE


async def test_a_number_belongs_to_one_project(api: Api) -> None:
    await a_number(api)
    table = {"routes": "1", "last": {"refuse": "busy"}}
    taken = await api.other("POST", "/numbers", {"e164": NUMBER, "routes": table})
    assert code_of(taken) == (409, "number_taken")
    assert "default" not in taken.text
    assert (await api.other("GET", "/numbers")).json()["items"] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/routes")):
        answer = await api.other(method, f"/numbers/{NUMBER}{path}", match="*")
        assert code_of(answer) == (404, "no_such_number")
    explained = await api.other("POST", f"/numbers/{NUMBER}/routes/explain", {})
    assert code_of(explained) == (404, "no_such_number")
    listed = (await api.ask("GET", "/numbers")).json()["items"]
    assert [row["label"] for row in listed] == ["Front desk"]
    body = {"carrier": "twilio", "label": "Reception"}
    changed = await api.ask("PUT", f"/numbers/{NUMBER}", body, match="*")
    assert changed.json()["label"] == "Reception"


@pytest.mark.parametrize("number", ["030123456", "+49", "x", "+4930123456\0"])
async def test_a_number_is_written_with_its_country(api: Api, number: str) -> None:
    body = {"e164": number, "routes": {"routes": "1", "last": {"refuse": "busy"}}}
    answer = await api.ask("POST", "/numbers", body)
    assert code_of(answer) == (422, "invalid_request")
