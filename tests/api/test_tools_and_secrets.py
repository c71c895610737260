"""What flows can be made of, and secrets, whose values come out nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.api.service import Api, an_api, code_of
from tests.databases import prepared_database

pytestmark = [pytest.mark.api, pytest.mark.anyio]

VALUE = "hush-7f3a91"


async def test_a_secret_is_set_used_and_never_read(api: Api) -> None:
    path = "/secrets/crm_token"
    with capture_logs() as logs:
        made = await api.ask("PUT", path, {"value": VALUE}, match="*")
        stale = await api.ask("PUT", path, {"value": VALUE}, match='"0"')
        bad = await api.ask("PUT", path, {"value": VALUE, "valu": 1}, match="*")
        listed = await api.ask("GET", "/secrets")
        audit = await api.ask("GET", "/audit")
    assert made.status_code == 200
    assert code_of(stale) == (412, "changed_meanwhile")
    assert bad.status_code == 422
    assert [row["name"] for row in listed.json()["items"]] == ["crm_token"]
    for said in (made.text, stale.text, bad.text, listed.text, audit.text, str(logs)):
        assert VALUE not in said
    assert await api.service.engine._stored.secrets("default") == {"crm_token": VALUE}
    assert await api.service.engine._stored.secrets("other") == {}
    async with api.service.database.reading(None) as session:
        run = (await session.connection()).exec_driver_sql
        kept = (await run("SELECT ciphertext FROM secret")).scalar_one()
    assert VALUE not in kept
    assert (await api.other("GET", "/secrets")).json()["items"] == []
    gone = await api.other("DELETE", path, match="*")
    assert code_of(gone) == (404, "no_such_secret")
    editor = await api.with_scopes("read", "edit")
    refused = await editor("PUT", path, {"value": "x"}, match="*")
    assert code_of(refused) == (403, "missing_scope")
    assert (await api.ask("DELETE", path, match="*")).status_code == 204
    assert await api.service.engine._stored.secrets("default") == {}


async def test_a_secret_that_would_be_lost_with_the_process_is_not_taken(tmp_path: Path) -> None:
    with prepared_database("sqlite") as url:
        async with an_api(url, tmp_path, FLOWENGINE_SECRET_KEY="") as api:
            answer = await api.ask("PUT", "/secrets/crm_token", {"value": VALUE}, match="*")
            assert code_of(answer) == (409, "no_secret_key")


async def test_what_flows_can_be_made_of(api: Api) -> None:
    tools = (await api.ask("GET", "/tools")).json()
    assert {"name": "crm.sign_in", "package": "flowengine"} in tools["functions"]
    kinds = {kind["kind"]: kind for kind in (await api.ask("GET", "/kinds")).json()["items"]}
    assert {"menu", "dialog", "transfer", "hangup"} <= set(kinds)
    assert "choices" in kinds["menu"]["json_schema"]["properties"]
    assert (await api.ask("GET", "/schema")).json()["title"] == "Flow"
    assert "rules" in (await api.ask("GET", "/schema/routes")).json()["properties"]
