"""How long the API's lists of calls take when 10,000 calls with their journals are stored.

Whole requests to `/v1/calls` without a socket: key, rate, query, JSON. Each list is asked for from
its beginning and from cursors deep in it, with every filter: such as match nearly all calls, a few,
and none. Calls have a shipped flow as their document, 120 journal records each, and come in over 90
days, for 20 flows and two projects.

Run from the repository's root: `python -m bench.lists [--database postgresql]`. Exits 1 when the
95th percentile of a list's pages is not under 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from urllib.parse import quote

import orjson
from sqlalchemy import Connection, Table, insert

from bench.figures import Figure, machine, show
from flowengine.store.database import Database
from flowengine.store.tables import call, call_event
from tests.api.service import Api, an_api
from tests.databases import KINDS, prepared_database

LIMIT_MS = 50.0
CALLS = 10_000
EVENTS = 120
FLOWS = 20
CALLERS = 1500
NUMBERS = 30
DAYS = 90
BEGIN = datetime(2026, 8, 1, tzinfo=UTC)
DOCUMENT = Path("flows/appointments/flow.json")
_BATCH = 20_000
_WARM = 5


@dataclass(frozen=True, slots=True)
class Listed:
    """A list that is measured: what it is called, its query, how many of its pages are walked."""

    name: str
    query: str
    pages: int = 100


LISTS = (
    Listed("all, 50 a page", "limit=50"),
    Listed("all, 200 a page", "limit=200"),
    Listed("status=completed (93 %)", "status=completed"),
    Listed("status=failed (3 %)", "status=failed"),
    Listed("status=queued (none)", "status=queued"),
    Listed("flow (5 %)", "flow=flow-7"),
    Listed("from (a few)", f"from={quote('+33600000042')}"),
    Listed("from (none)", f"from={quote('+33999999999')}"),
    Listed("to (3 %)", f"to={quote('+33100000007')}"),
    Listed("to (none)", f"to={quote('+33199999999')}"),
    Listed("direction=inbound (90 %)", "direction=inbound"),
    Listed("direction=outbound (10 %)", "direction=outbound"),
    Listed("disposition=served (70 %)", "disposition=served"),
    Listed("disposition=voicemail (0.2 %)", "disposition=voicemail"),
    Listed("disposition=unheard-of (none)", "disposition=unheard-of"),
    Listed("since and until: the first day", f"until={quote('2026-08-02T00:00:00Z')}"),
    Listed("since and until: before all", f"until={quote('2026-07-01T00:00:00Z')}"),
    Listed("since: after all", f"since={quote('2027-01-01T00:00:00Z')}"),
    Listed("flow, status and disposition", "flow=flow-7&status=failed&disposition=voicemail"),
    Listed(
        "direction, to and since",
        f"direction=outbound&to={quote('+33100000007')}&since=" + quote("2026-08-20T00:00:00Z"),
    ),
)


def calls(count: int, document: str, seed: int = 5) -> Iterator[dict[str, Any]]:
    """Rows of calls, in the order of time."""
    random = Random(seed)
    for number in range(1, count + 1):
        at = BEGIN + timedelta(days=DAYS) * (number / count)
        outbound = random.random() < 0.1
        caller = f"+336{min(int(random.expovariate(1 / 300)), CALLERS):08d}"
        ours = f"+331{random.randrange(NUMBERS):08d}"
        status = random.choices(("completed", "failed", "no_answer", "in_progress"), (93, 3, 3, 1))[
            0
        ]
        disposition = random.choices(
            ("served", "hung_up", "transferred", "voicemail"), (70, 20, 9.8, 0.2)
        )[0]
        yield {
            "number": number,
            "id": f"call_{number:020x}",
            "carrier": "twilio",
            "carrier_sid": f"CA{number:032x}",
            "direction": "outbound" if outbound else "inbound",
            "from_number": ours if outbound else caller,
            "to_number": caller if outbound else ours,
            "flow_id": f"flow-{random.randrange(FLOWS)}",
            "version": f"{number % 40:064x}",
            "flow": document,
            "status": status,
            "epoch": 1,
            "created_at": at.isoformat(),
            "ended_at": (at + timedelta(minutes=2)).isoformat(),
            "disposition": disposition,
            "pending": None,
            "nonce": None,
            "project_id": "other" if random.random() < 0.1 else "default",
            "flow_version": 3,
            "variables": "{}",
            "metadata": '{"order": "A-1"}',
        }


def records(call_id: str) -> Iterator[dict[str, Any]]:
    """A call's journal: what is heard, thought, spoken, and where the call goes."""
    for seq in range(1, EVENTS + 1):
        kind = seq % 6
        body: dict[str, Any] = {"type": "AudioSent", "generation": seq, "clause": 1, "from_ms": 0}
        if kind == 0:
            body = {"type": "NodeEntered", "node": f"n{seq}", "kind": "say", "visit": 1}
            body["by"] = "outcome"
        elif kind == 1:
            text = "I would like to move my appointment to Thursday, please."
            body = {"type": "SegmentHeard", "text": text, "confidence": 0.97, "endpoint": True}
        elif kind == 2:
            text = "Of course. I have ten o'clock or half past two on Thursday."
            body = {"type": "UtteranceSpoken", "generation": seq, "node": f"n{seq}", "text": text}
            body |= {"heard": text, "cut": False, "response_ms": 900, "stages": {"llm": 350}}
        yield {
            "call_id": call_id,
            "seq": seq,
            "epoch": 1,
            "at_ms": seq * 900,
            "family": "fact" if kind in (0, 2) else "input",
            "body": orjson.dumps(body).decode(),
        }


def fill(database: Database, count: int) -> float:
    """Store the calls with their journals; megabytes of the journals."""
    document = DOCUMENT.read_text(encoding="utf-8")
    size = 0
    with database.engine.begin() as connection:
        rows = list(calls(count, document))
        put(connection, call, rows)
        waiting: list[dict[str, Any]] = []
        for row in rows:
            waiting += records(row["id"])
            if len(waiting) >= _BATCH or row is rows[-1]:
                size += sum(len(record["body"]) for record in waiting)
                put(connection, call_event, waiting)
                waiting = []
    with database.engine.connect() as connection:
        # As both databases do by themselves once they have grown so.
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
    if database.kind == "sqlite":
        # As it is once the writer rested: outside of a transaction, where no checkpoint is made.
        raw = database.engine.raw_connection()
        raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.close()
    return size / 1e6


def put(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that have the same columns, as fast as the driver can."""
    if connection.dialect.name == "sqlite":
        connection.execute(insert(table), rows)
        return
    driver: Any = connection.connection.driver_connection
    columns = ", ".join(f'"{name}"' for name in rows[0])
    with driver.cursor().copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))


async def took(api: Api, path: str) -> tuple[float, str | None]:
    """Milliseconds of a request, and the cursor of the page after."""
    start_ns = time.perf_counter_ns()
    answer = await api.ask("GET", path)
    elapsed_ms = (time.perf_counter_ns() - start_ns) / 1e6
    if answer.status_code != 200:
        raise RuntimeError(answer.text)
    return elapsed_ms, answer.json().get("next")


async def walk(api: Api, listed: Listed) -> list[float]:
    """Milliseconds of each page, from the first on; short lists again from their beginning."""
    found: list[float] = []
    cursor: str | None = None
    while len(found) < listed.pages:
        path = f"/calls?{listed.query}" + (f"&cursor={cursor}" if cursor else "")
        elapsed_ms, cursor = await took(api, path)
        found.append(elapsed_ms)
    return found


def p95(values: Sequence[float]) -> float:
    """The value under which 95 of 100 lie."""
    return sorted(values)[min(int(len(values) * 0.95), len(values) - 1)]


async def measure(url: str, folder: Path, count: int) -> int:
    """Fill, ask, print; how many limits were missed."""
    start_s = time.perf_counter()
    database = Database(url)
    megabytes = fill(database, count)
    await database.close()
    # A server does not store 10,000 calls at once: the disk is done with them before it is asked.
    os.sync()
    filled_s = time.perf_counter() - start_s
    async with an_api(url, folder, FLOWENGINE_API_RATE="1000000/minute") as api:
        for _ in range(_WARM):
            await took(api, "/calls")
        figures = [
            Figure("calls", count),
            Figure("journal records", count * EVENTS),
            Figure("journal", megabytes, "MB"),
            Figure("storing them", filled_s, "s"),
        ]
        missed = show("Stored", figures)
        pages = []
        for one in LISTS:
            times = await walk(api, one)
            name = f"{one.name}: p50 {median(times):.0f}, p95"
            pages.append(Figure(name, p95(times), "ms", LIMIT_MS))
        missed += show("Pages of /v1/calls", pages)
        ids = [f"call_{number:020x}" for number in range(count // 2, count, max(1, count // 80))]
        seen = []
        for name, path in (
            ("one call", ""),
            ("its transcript", "/transcript"),
            ("its journal, 50 a page", "/events"),
        ):
            times = []
            for call_id in ids:
                answer_ms = await one_of(api, f"/calls/{call_id}{path}")
                times += [answer_ms] if answer_ms is not None else []
            seen.append(Figure(f"{name}, p95", p95(times), "ms"))
        show("One call", seen)
    return missed


async def one_of(api: Api, path: str) -> float | None:
    """Milliseconds of a request; None for a call of the other project."""
    start_ns = time.perf_counter_ns()
    answer = await api.ask("GET", path)
    return None if answer.status_code == 404 else (time.perf_counter_ns() - start_ns) / 1e6


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--calls", type=int, default=CALLS)
    asked = parser.parse_args(arguments)
    print(f"{machine()}; {asked.database}")
    with prepared_database(asked.database) as url, tempfile.TemporaryDirectory() as folder:
        return 1 if asyncio.run(measure(url, Path(folder), asked.calls)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
