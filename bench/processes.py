"""The processes of a bench: `flowengine serve` as it is, and the vendors beside it.

The engine is measured from outside, by what Linux counts for its process.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from flowengine.testing.providers.serving import KEY

AUTH_TOKEN = secrets.token_hex(16)
READY_S = 40.0
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_LONGEST_LINE = 1 << 28


class BenchError(Exception):
    """The bench itself could not be run."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a process had used up at one moment."""

    cpu_ms: float
    rss_kib: int
    waited_s: float
    """How long its main thread was ready to run and had no core."""
    at_s: float


class Engine:
    """A running `flowengine serve`."""

    def __init__(self, process: asyncio.subprocess.Process, base_url: str, log: Path) -> None:
        self.base_url = base_url
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self) -> Load:
        """CPU time and memory of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        status = Path(f"/proc/{self.pid}/status").read_text()
        rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        waited = Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]
        ticks = int(fields[11]) + int(fields[12])
        return Load(ticks * _TICK_MS, int(rss.split()[1]), int(waited) / 1e9, time.monotonic())

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None


class Vendors:
    """The fake vendors' process."""

    def __init__(self, process: asyncio.subprocess.Process, urls: Mapping[str, str]) -> None:
        self.urls = urls
        self._process = process

    async def take(self) -> dict[str, Any]:
        """What was noted since the last time."""
        return await self._ask({"do": "take"})

    async def hear_as(self, way: str) -> None:
        """Set how the recogniser hears; a key of `bench.vendors.HEARS_OUT_MS`."""
        await self._ask({"do": "hears", "as": way})

    async def fault(
        self, vendor: str, kind: str, *, after: int = 0, status: int = 500, times: int = 1000
    ) -> None:
        """Let the vendor's next connections misbehave; an empty `kind` ends that."""
        await self._ask(
            {
                "do": "faults",
                "vendor": vendor,
                "kind": kind,
                "after": after,
                "status": status,
                "times": times,
            }
        )

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None:
            raise BenchError("the vendors' process takes no commands")
        self._process.stdin.write(orjson.dumps(command) + b"\n")
        await self._process.stdin.drain()
        return await _line(self._process)


@asynccontextmanager
async def vendors() -> AsyncIterator[Vendors]:
    """Start the fake vendors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from bench.vendors import main; main()",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        cwd=_root(),
    )
    try:
        yield Vendors(process, await _line(process))
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await _stop(process)


@asynccontextmanager
async def engine(
    flow: Mapping[str, Any], desk: Vendors, *, arguments: tuple[str, ...] = ()
) -> AsyncIterator[Engine]:
    """Start `flowengine serve --flow` with the vendors as its vendors."""
    with TemporaryDirectory(prefix="flowengine-bench-") as folder:
        place = Path(folder)
        (place / "flow.json").write_bytes(orjson.dumps(flow))
        port = _free_port()
        log = place / "serve.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", "from flowengine.cli import main; main()"),
                *("serve", "--flow", str(place / "flow.json")),
                *("--port", str(port), *arguments),
                stdout=output,
                stderr=output,
                cwd=_root(),
                env=_environment(port, desk, place / "data"),
            )
        try:
            await _ready(process, port, log)
            yield Engine(process, f"http://127.0.0.1:{port}", log)
        finally:
            await _stop(process)


def _environment(port: int, desk: Vendors, data: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
        "PYTHONPATH": str(_root()),
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "FLOWENGINE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "FLOWENGINE_DATA": str(data),
        "FLOWENGINE_SECRET_KEY": "bench",
        "FLOWENGINE_LOG_LEVEL": "warning",
        "FLOWENGINE_MAX_CALLS": "200",
        "OPENAI_API_KEY": KEY,
        "DEEPGRAM_API_KEY": KEY,
        "ELEVENLABS_API_KEY": KEY,
        "OPENAI_BASE_URL": desk.urls["openai"],
        "DEEPGRAM_BASE_URL": desk.urls["deepgram"],
        "ELEVENLABS_BASE_URL": desk.urls["elevenlabs"],
    }


async def _ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise BenchError(_complaint(log))


def _complaint(log: Path) -> str:
    return f"flowengine serve did not start:\n{log.read_text()}"


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    if process.stdout is None:
        raise BenchError("the vendors' process says nothing")
    line = await process.stdout.readline()
    if not line:
        raise BenchError("the vendors' process ended")
    answer: dict[str, Any] = orjson.loads(line)
    return answer


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _root() -> Path:
    return Path(__file__).parent.parent
