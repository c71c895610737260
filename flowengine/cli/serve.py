"""`flowengine serve`: answer calls with a flow."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop
from sqlalchemy.exc import IntegrityError
from structlog.typing import EventDict

from flowengine.api.app import create_app
from flowengine.api.server import serve as serve_app
from flowengine.api.service import Service
from flowengine.app import Engine
from flowengine.errors import ConfigError
from flowengine.runtime.flow_files import shown
from flowengine.runtime.redaction import redact
from flowengine.settings import PREFIX, Settings, load_settings
from flowengine.store.keys import first_key

SECRETS = f"{PREFIX}SECRET_"
"""`FLOWENGINE_SECRET_CRM_TOKEN` is `secrets.crm_token` in a tool's request."""
_FILE = "_FILE"
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def serve(
        flow: Annotated[
            list[Path] | None,
            typer.Option(
                "--flow",
                help="A flow that answers every number; further ones are flows that it calls."
                " Without it, calls go by the numbers and routes that the API was given.",
            ),
        ] = None,
        host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(help="The port; 0 picks a free one.")] = 8080,
    ) -> None:
        """Answer calls, and the REST API, until stopped."""
        settings = load_settings()
        set_up_logs(settings.log_level)
        uvloop.run(run(settings, flow or [], host, port))


def set_up_logs(level: str) -> None:
    """One line of JSON per event on stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            redacted,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=typer.get_text_stream("stderr")),
        cache_logger_on_first_use=True,
    )


def redacted(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Take a caller's numbers and addresses out of a line, wherever they came into it.

    None should be in it; but a library's message may quote what it was given.
    """
    return {name: _without_numbers(value) for name, value in line.items()}


def _without_numbers(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _without_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_numbers(inner) for inner in value]
    is_plain = value is None or isinstance(value, bool | int | float)
    # What JSON does not know is written as its repr.
    return value if is_plain else redact(repr(value))


def tool_secrets() -> dict[str, str]:
    """The secrets of tools, by the names that flows use. Raises ConfigError.

    `FLOWENGINE_SECRET_CRM_TOKEN` is the value itself, `FLOWENGINE_SECRET_CRM_TOKEN_FILE` the path
    of a file that holds it, as container platforms hand secrets in.
    """
    found = {}
    for name, value in os.environ.items():
        if not name.startswith(SECRETS) or name == f"{SECRETS}KEY":
            continue
        if name.endswith(_FILE):
            found[name.removeprefix(SECRETS).removesuffix(_FILE).lower()] = _secret_of(name, value)
        else:
            found.setdefault(name.removeprefix(SECRETS).lower(), value)
    return found


def _secret_of(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "unreadable_secret",
            f"The file of a secret cannot be read ({type(error).__name__}).",
            where=name,
            fix="Name a file that this user may read, in UTF-8.",
        ) from error


async def run(settings: Settings, flow: list[Path], host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; running calls may end first."""
    engine = Engine(
        settings,
        flow[0] if flow else None,
        others=flow[1:],
        secrets=tool_secrets(),
        allow_private_tools=settings.allow_private_tools,
    )
    stop, draining = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, draining.set)
    describe(engine)
    try:
        await engine.warm()
        _set_aside()
        await _show_first_key(engine)
        engine.begin_chores()
        app = create_app(
            engine.carriers, engine.not_ready, engine.vendors.health.told, Service(engine)
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_end(engine, draining, stop))
            await serve_app(
                app,
                host,
                port,
                ready=lambda bound: print(f"ready on http://{host}:{bound}", flush=True),
                stop=stop,
            )
            draining.set()
    finally:
        await engine.close(0)


async def _show_first_key(engine: Engine) -> None:
    try:
        async with engine.database.writing(None) as session:
            key = await first_key(session, engine.clock.wall())
    except IntegrityError:
        return  # another process starts at the same moment, and shows its own
    if key is not None:
        print(f"the first key of the API, shown this once: {key}", flush=True)


def _set_aside() -> None:
    """Keep what was loaded for good out of garbage collection.

    A full collection over the SDKs' classes stops every call for more than 100 ms.
    """
    gc.collect()
    gc.freeze()


async def _end(engine: Engine, draining: asyncio.Event, stop: asyncio.Event) -> None:
    """Drain while the server still answers the carriers, then stop it."""
    await draining.wait()
    print("stopping: no new calls, waiting for those that run", flush=True)
    await engine.supervisor.drain(30.0)
    stop.set()


def describe(engine: Engine) -> None:
    """Say what will be answered, by whom, and what is off."""
    server = engine.server
    if engine.flow is not None:
        print(f"flow {engine.flow.program.flow.id} version {engine.flow.program.version}")
        for finding in engine.flow.warnings:
            print(shown(finding))
    else:
        print("calls go by the numbers and routes of the store")
    llm = server.llm.provider if server.llm else "none (dialogs end no_llm)"
    print(f"speech in: {server.stt.provider}, LLM: {llm}, speech out: {server.tts.provider}")
    for carrier in engine.carriers:
        hooks = ", ".join(f"/{carrier.name}/{path}" for path in carrier.webhooks())
        sockets = ", ".join(f"/{carrier.name}/{path}" for path in carrier.sockets())
        print(f"{carrier.name}: POST {hooks}; socket {sockets}")
    for note in engine.settings.notes():
        print(f"note: {note}")
    print(end="", flush=True)
