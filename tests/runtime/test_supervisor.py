"""Admission, tokens, transfers, and calls that go on in another process: over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from flowengine.errors import CallError
from flowengine.events import NodeEntered, TransferEnded, UtteranceSpoken
from flowengine.ids import CallId
from flowengine.ports import CallOffer, CallRow, DialReport, Reconnect, Refuse, StreamTicket
from flowengine.runtime.transfers import after_dial, dial_of
from flowengine.testing.phone import DialPlan, Phone
from tests.runtime.flows import MENU, TRANSFER
from tests.runtime.house import AUTH_TOKEN, CALLED, CALLER, Vendors, free_port, running, vendors
from tests.store.calls import open_store

pytestmark = [pytest.mark.api, pytest.mark.anyio]

OFFER = CallOffer("twilio", "CA1", "inbound", CALLER, CALLED)
DIAL: dict[str, Any] = {
    "do": "dial",
    "to": ["+14155550111", "+14155550112"],
    "ring_s": 20,
    "longest_s": 60,
    "caller_id": "caller",
    "press": "",
    "at": 0,
}


# --- admission and tokens ---


async def test_the_same_offer_gives_the_same_call_a_fresh_ticket(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        first = await run.engine.supervisor.offered(OFFER)
        second = await run.engine.supervisor.offered(OFFER)
    assert isinstance(first, Reconnect) and isinstance(second, Reconnect)
    assert first.ticket.call_id == second.ticket.call_id
    assert first.ticket.token != second.ticket.token


async def test_more_calls_than_allowed_are_refused_as_busy(tmp_path: Path) -> None:
    more = {"FLOWENGINE_MAX_CALLS": "1"}
    async with vendors() as behind, running(tmp_path, MENU, behind, more=more) as run:
        supervisor = run.engine.supervisor
        assert isinstance(await supervisor.offered(OFFER), Reconnect)
        assert supervisor.not_ready() == ["max_calls"]
        other = CallOffer("twilio", "CA2", "inbound", CALLER, CALLED)
        assert await supervisor.offered(other) == Refuse("busy")


async def test_a_draining_process_takes_no_new_call(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        await run.engine.supervisor.drain(0)
        assert run.engine.supervisor.not_ready() == ["draining"]
        assert await run.engine.supervisor.offered(OFFER) == Refuse("busy")


class NoLine:
    """A line that must not be touched."""

    async def events(self) -> AsyncIterator[Any]:
        raise AssertionError("nothing is opened for a bad token")
        yield

    async def send_audio(self, audio: bytes) -> None:
        raise AssertionError

    async def send_mark(self, name: str) -> None:
        raise AssertionError

    async def clear(self) -> None:
        raise AssertionError

    async def close(self) -> None:
        raise AssertionError


async def test_a_token_that_was_replaced_or_forged_opens_nothing(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        supervisor = run.engine.supervisor
        first = await supervisor.offered(OFFER)
        await supervisor.offered(OFFER)
        assert isinstance(first, Reconnect)
        forged = StreamTicket(CallId("call_1"), first.ticket.token[:-2] + "zz")
        for ticket in (first.ticket, forged):
            with pytest.raises(CallError) as caught:
                await supervisor.stream_opened(ticket, NoLine())
            assert caught.value.code == "bad_token"
    assert behind.deepgram.connections == 0


# --- transfers ---


async def test_a_failed_dial_tries_the_next_number_and_then_the_flow_goes_on(
    tmp_path: Path,
) -> None:
    dials = [DialPlan("busy"), DialPlan("no-answer")]
    async with vendors() as behind, running(tmp_path, TRANSFER, behind) as run:
        async with run.phone.call(CALLER, CALLED, dials=dials) as call:
            await call.over()
        await run.settled()
        (row,) = await run.engine.store.calls(5)
    assert [verb.name for verb in call.verbs].count("Dial") == 2
    assert run.path() == ["hello", "desk", "desk", "nobody"]
    assert [event.outcome for event in run.facts(TransferEnded)] == ["no_answer"]
    assert run.facts(UtteranceSpoken)[-1].heard == "Nobody is there."
    assert (row.status, row.disposition, row.epoch) == ("completed", "nobody", 2)


async def test_a_finished_transfer_without_an_edge_ends_the_call_without_a_stream(
    tmp_path: Path,
) -> None:
    async with vendors() as behind, running(tmp_path, TRANSFER, behind) as run:
        async with run.phone.call(CALLER, CALLED, dials=[DialPlan("completed")]) as call:
            await call.over()
        await run.settled()
        (row,) = await run.engine.store.calls(5)
        kinds = [record.body["type"] for record in await run.engine.store.journal(row.id)]
    names = [verb.name for verb in call.verbs]
    assert (names.count("Connect"), names.count("Dial"), names[-1]) == (1, 1, "Hangup")
    assert (row.status, row.epoch) == ("completed", 1)
    assert kinds.count("CallEnded") == 1 and "TransferEnded" in kinds


async def test_the_flow_goes_on_where_a_finished_transfer_has_an_edge(tmp_path: Path) -> None:
    flow = {**TRANSFER, "edges": [*TRANSFER["edges"], {"from": "desk", "on": "done", "to": "back"}]}
    async with vendors() as behind, running(tmp_path, flow, behind) as run:
        async with run.phone.call(CALLER, CALLED, dials=[DialPlan("completed")]) as call:
            await call.over()
        await run.settled()
    assert run.path() == ["hello", "desk", "desk", "back"]
    assert run.facts(UtteranceSpoken)[-1].heard == "Welcome back."


def row_of(direction: str) -> CallRow:
    return CallRow(
        CallId("call_1"), "twilio", "CA1", direction, CALLER, CALLED, "f", "v", {}, "s", 1, ""
    )


def test_the_number_shown_is_the_callers_ours_or_another() -> None:
    inbound, outbound = row_of("inbound"), row_of("outbound")
    assert dial_of(DIAL, inbound).caller_id == CALLER
    assert dial_of({**DIAL, "caller_id": "own"}, inbound).caller_id == CALLED
    assert dial_of(DIAL, outbound).caller_id == CALLED
    assert dial_of({**DIAL, "caller_id": "+14155550123"}, inbound).caller_id == "+14155550123"
    assert dial_of({**DIAL, "at": 1}, inbound).to == "+14155550112"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("busy", "busy"), ("no-answer", "no_answer"), ("failed", "failed"), ("completed", "done")],
)
def test_after_the_last_number_the_outcome_is_the_flows_word(status: str, outcome: str) -> None:
    step = after_dial({**DIAL, "at": 1}, DialReport(status, 7))
    assert (step["do"], step["outcome"], step["to"]) == ("resume", outcome, "+14155550112")
    assert after_dial(step, DialReport(status, 7)) == step


# --- another process ---


class Exchange:
    """A proxy before the process that answers; holds connections while there is none."""

    def __init__(self) -> None:
        self.port = free_port()
        self.behind = 0
        self.is_open = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.is_open.wait()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.behind)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    # Twilio asks over new connections; one kept open would die with the process.
                    sink.write(data.replace(b"Connection: keep-alive", b"Connection: close"))
                    await sink.drain()
            sink.transport.abort()

        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))


@asynccontextmanager
async def process(folder: Path, behind: Vendors, exchange: Exchange) -> AsyncIterator[Any]:
    """`flowengine serve` as a process of its own."""
    port = free_port()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "FLOWENGINE_DATA": str(folder / "data"),
        "FLOWENGINE_PUBLIC_URL": f"http://127.0.0.1:{exchange.port}",
        "FLOWENGINE_SECRET_KEY": "secret of a test",
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        **behind.environment(),
    }
    command = ["-c", "from flowengine.cli import main; main()", "serve"]
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *("--flow", str(folder / "flow.json"), "--port", str(port)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    while b"ready on" not in (line := await running.stdout.readline()):
        assert line, "the process ended before it was ready"
    exchange.behind = port
    exchange.is_open.set()
    try:
        yield running
    finally:
        exchange.is_open.clear()
        if running.returncode is None:
            running.send_signal(signal.SIGTERM)
        await running.communicate()


@pytest.mark.slow
async def test_a_killed_process_costs_the_caller_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_bytes(orjson.dumps(MENU))
    exchange = Exchange()
    proxy = await asyncio.start_server(exchange.carry, "127.0.0.1", exchange.port)
    phone = Phone(f"http://127.0.0.1:{exchange.port}", AUTH_TOKEN)
    async with proxy, vendors() as behind:
        async with process(tmp_path, behind, exchange) as first:
            ringing = phone.call(CALLER, CALLED)
            call = await ringing.__aenter__()
            await call.hears(400)
            exchange.is_open.clear()
            first.kill()
            await first.wait()
        async with process(tmp_path, behind, exchange) as second:
            heard = await call.hears(600)
            await call.press("1")
            await call.over()
            second.send_signal(signal.SIGTERM)
            await second.communicate()
            assert second.returncode == 0
        await ringing.__aexit__(None, None, None)
    store = open_store(tmp_path / "data" / "flowengine.db")
    (row,) = await store.calls(5)
    records = await store.journal(row.id)
    await store.close()
    assert len(heard) > 1000
    assert (row.status, row.disposition, row.epoch) == ("completed", "served", 2)
    entered = [r.body["node"] for r in records if r.body["type"] == NodeEntered.__name__]
    assert entered == ["welcome", "choose", "choose", "bye"]
    assert [record.seq for record in records] == sorted({record.seq for record in records})


async def test_a_stream_of_another_call_gets_nothing_for_a_good_token(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, TRANSFER, behind) as run:
        supervisor = run.engine.supervisor
        offered = await supervisor.offered(OFFER)
        assert isinstance(offered, Reconnect)
        stolen = replace(offered.ticket, carrier_sid="CA2")
        with pytest.raises(CallError, match="bad_token"):
            await supervisor.stream_opened(stolen, NoLine())
