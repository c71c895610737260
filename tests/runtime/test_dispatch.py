"""What an inbound call runs: tables and versions from a real database, over a real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowengine.app import Engine
from flowengine.events import Json
from flowengine.flow.canonical import version_hash
from flowengine.flow.language import Language
from flowengine.ids import CallId
from flowengine.nodes import load_kinds
from flowengine.ports import CallOffer, Refuse
from flowengine.runtime.published import FORWARD, forwarding
from flowengine.runtime.supervisor import Begin
from flowengine.settings import load_settings
from flowengine.store.tables import Flow, FlowTag, FlowVersion, Number, Project, Secret
from tests.databases import KINDS, prepared_database
from tests.runtime.flows import MENU, TRANSFER

pytestmark = [pytest.mark.api, pytest.mark.anyio]

NUMBER = "+4930123456"
CALL = CallId("call_1")


class Stored:
    """An engine over a database with two flows of one project, and one number."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def fill(self) -> None:
        now = self.engine.clock.wall()
        async with self.engine.database.writing(None) as session:
            session.add(Project(id="clinic", name="Clinic", settings={}, created_at=now))
            await session.flush()
            for document in (MENU, TRANSFER):
                session.add(
                    Flow(
                        project_id="clinic",
                        id=document["id"],
                        name="",
                        draft=document,
                        created_at=now,
                        updated_at=now,
                    )
                )
            await session.flush()
        await self.publish(MENU, 1)
        await self.publish({**MENU, "name": "newer"}, 2)
        await self.publish(TRANSFER, 1)

    async def publish(self, document: Mapping[str, Json], number: int) -> None:
        async with self.engine.database.writing("clinic") as session:
            session.add(
                FlowVersion(
                    project_id="clinic",
                    flow_id=str(document["id"]),
                    number=number,
                    hash=version_hash(dict(document)),
                    document=dict(document),
                    subflows={},
                    message="",
                    author="",
                    created_at=self.engine.clock.wall(),
                )
            )

    async def tag(self, flow_id: str, tag: str, number: int) -> None:
        async with self.engine.database.writing("clinic") as session:
            session.add(
                FlowTag(
                    project_id="clinic",
                    flow_id=flow_id,
                    tag=tag,
                    number=number,
                    updated_at=self.engine.clock.wall(),
                )
            )

    async def route(self, table: Mapping[str, Any]) -> None:
        now = self.engine.clock.wall()
        async with self.engine.database.writing("clinic") as session:
            row = await session.get(Number, NUMBER)
            if row is None:
                row = Number(
                    e164=NUMBER,
                    project_id="clinic",
                    carrier="twilio",
                    label="",
                    created_at=now,
                    updated_at=now,
                    routes={},
                )
                session.add(row)
            row.routes = {"routes": "1", **table}

    async def chosen(self, caller: str = "+4915112345678", to: str = NUMBER) -> Begin | Refuse:
        offer = CallOffer("twilio", "CA1", "inbound", caller, to)
        return await self.engine.dispatch.choose(offer, CALL)

    async def begun(self) -> tuple[str, int | None]:
        begin = await self.chosen()
        assert isinstance(begin, Begin)
        assert begin.project_id == "clinic"
        return begin.program.flow.id, begin.flow_version


@pytest.fixture(params=KINDS)
async def stored(
    request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: object
) -> AsyncIterator[Stored]:
    with prepared_database(request.param) as url:
        async with an_engine(url, tmp_path) as engine:
            made = Stored(engine)
            await made.fill()
            yield made


@asynccontextmanager
async def an_engine(url: str, folder: Path) -> AsyncIterator[Engine]:
    environ = {
        "FLOWENGINE_DATABASE_URL": url,
        "FLOWENGINE_DATA": str(folder / "data"),
        "FLOWENGINE_SECRET_KEY": "a test's",
    }
    engine = Engine(load_settings(environ))
    yield engine
    await engine.close(0)


async def test_a_number_that_nobody_owns_is_refused(stored: Stored) -> None:
    assert await stored.chosen(to="+4930999999") == Refuse("rejected")


async def test_the_newest_version_a_number_or_a_tag(stored: Stored) -> None:
    await stored.route({"last": {"flow": "front-desk"}})
    assert await stored.begun() == ("front-desk", 2)
    await stored.route({"last": {"flow": "front-desk", "version": 1}})
    assert await stored.begun() == ("front-desk", 1)
    await stored.tag("front-desk", "production", 1)
    await stored.route({"last": {"flow": "front-desk", "tag": "production"}})
    assert await stored.begun() == ("front-desk", 1)


async def test_a_sip_callers_header_decides(stored: Stored) -> None:
    rule = {
        "name": "partner",
        "when": {"header": {"X-Partner": "acme"}},
        "to": {"refuse": "busy"},
    }
    await stored.route({"rules": [rule], "last": {"flow": "front-desk"}})
    offer = CallOffer("twilio", "CA1", "inbound", "", NUMBER, headers={"x-partner": "acme"})
    assert await stored.engine.dispatch.choose(offer, CALL) == Refuse("busy")
    assert await stored.begun() == ("front-desk", 2)


async def test_a_changed_table_holds_for_the_next_call(stored: Stored) -> None:
    rule = {
        "name": "germans",
        "when": {"caller": {"country": ["DE"]}},
        "to": {"flow": "switchboard", "variables": {"team": "sales"}},
    }
    await stored.route({"rules": [rule], "last": {"flow": "front-desk"}})
    begin = await stored.chosen()
    assert isinstance(begin, Begin)
    assert (begin.program.flow.id, begin.variables) == ("switchboard", {"team": "sales"})
    await stored.route({"last": {"flow": "front-desk"}})
    assert await stored.begun() == ("front-desk", 2)


async def test_what_cannot_be_carried_out_goes_to_the_last_resort_and_never_to_silence(
    stored: Stored,
) -> None:
    lost = {"name": "all", "to": {"flow": "gone"}}
    await stored.route({"rules": [lost], "last": {"flow": "front-desk"}})
    assert await stored.begun() == ("front-desk", 2)
    await stored.route({"rules": [lost], "last": {"flow": "gone", "version": 7}})
    assert await stored.chosen() == Refuse("busy")
    await stored.route({"rules": [{"name": "no"}], "last": {}})
    assert await stored.chosen() == Refuse("busy")
    await stored.route({"last": {"refuse": "rejected"}})
    assert await stored.chosen() == Refuse("rejected")


async def test_a_store_that_is_away_refuses_as_busy(stored: Stored) -> None:
    await stored.route({"last": {"flow": "front-desk"}})
    async with stored.engine.database.writing(None) as session:
        await (await session.connection()).exec_driver_sql("ALTER TABLE number RENAME TO gone")
    assert await stored.chosen() == Refuse("busy")


async def test_a_forwarded_call_rings_the_number_and_says_so_when_nobody_answers(
    stored: Stored,
) -> None:
    await stored.route({"last": {"forward": "+493012"}})
    begin = await stored.chosen()
    assert isinstance(begin, Begin)
    assert begin.program.flow.id == FORWARD
    parsed = Language(load_kinds()).parse_document(forwarding("+493012"), FORWARD)
    assert parsed.findings == ()


async def test_a_call_keeps_its_version_when_the_flow_is_deleted(stored: Stored) -> None:
    await stored.route({"last": {"flow": "front-desk"}})
    begin = await stored.chosen()
    assert isinstance(begin, Begin)
    supervisor = stored.engine.supervisor
    row = supervisor._new_row(CallOffer("twilio", "CA1", "inbound", "", NUMBER), CALL, begin)
    assert await stored.engine.published.program_of(row) is begin.program
    async with stored.engine.database.writing("clinic") as session:
        flow = await session.get(Flow, ("clinic", "front-desk"))
        await session.delete(flow)
    assert (await stored.engine.published.program_of(row)).version == row.version


async def test_a_projects_secrets_are_its_tools(stored: Stored) -> None:
    await stored.route({"last": {"flow": "front-desk"}})
    begin = await stored.chosen()
    assert isinstance(begin, Begin)
    supervisor = stored.engine.supervisor
    row = supervisor._new_row(CallOffer("twilio", "CA1", "inbound", "", NUMBER), CALL, begin)
    assert await stored.engine._services_of(row) is stored.engine.services
    async with stored.engine.database.writing("clinic") as session:
        session.add(
            Secret(
                project_id="clinic",
                name="crm_token",
                ciphertext=stored.engine.cipher.encrypt("hush"),
                updated_at=stored.engine.clock.wall(),
            )
        )
    services = await stored.engine._services_of(row)
    assert services.tools._secrets == {"crm_token": "hush"}
    assert stored.engine.services.tools._secrets == {}


async def test_what_numbers_lead_to_is_made_ready(stored: Stored) -> None:
    sides = [
        {"weight": 1, "to": {"flow": "front-desk"}},
        {"weight": 1, "to": {"ask": "https://x.example", "default": {"flow": "switchboard"}}},
    ]
    await stored.route({"last": {"split": sides}})
    found = await stored.engine._stored.routed_flows()
    assert [(project, target.flow) for project, target in found] == [
        ("clinic", "front-desk"),
        ("clinic", "switchboard"),
    ]
