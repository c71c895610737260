"""What a node's code may do: it is pure, and it can be closed wherever it waits."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowengine import nodes

pytestmark = pytest.mark.unit

FILES = sorted(Path(nodes.__file__).parent.glob("*.py"))
FORBIDDEN = {
    *("asyncio", "concurrent", "threading", "multiprocessing", "subprocess", "signal", "select"),
    *("time", "datetime", "random", "secrets", "os", "socket", "ssl", "logging", "structlog"),
    *("urllib", "http", "httpx", "httpx2", "websockets", "anyio", "fastapi", "starlette"),
    *("twilio", "openai", "anthropic", "deepgram", "elevenlabs"),
}
FORBIDDEN_ROOMS = {
    *("runtime", "store", "providers", "carriers", "testing", "app", "api", "cli", "campaigns"),
    *("assurance", "clock", "media"),
}


def imported(tree: ast.AST) -> Iterator[str]:
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            yield from (name.name for name in part.names)
        elif isinstance(part, ast.ImportFrom):
            yield part.module or "."


def faults(source: str) -> list[str]:
    """What a node's code must not hold: impure imports, waits where it may be closed."""
    tree = ast.parse(source)
    found = []
    for name in imported(tree):
        first, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if first in FORBIDDEN or (first == "flowengine" and room in FORBIDDEN_ROOMS):
            found.append(f"imports {name}")
    for part in ast.walk(tree):
        if isinstance(part, ast.Try | ast.TryStar):
            found += [_caught(handler) for handler in part.handlers if _caught(handler)]
            closing: list[ast.AST] = [*part.handlers, *part.finalbody]
            found += ["awaits while closing" for block in closing if _awaits(block)]
        elif isinstance(part, ast.AsyncWith | ast.AsyncFor):
            found.append("has an async with or for")
    return found


def _caught(handler: ast.ExceptHandler) -> str:
    names = ast.unparse(handler.type) if handler.type else "everything"
    wide = ("everything", "BaseException", "GeneratorExit", "CancelledError")
    return f"catches {names}" if any(name in names for name in wide) else ""


def _awaits(block: ast.AST) -> bool:
    waits = (ast.Await, ast.Yield, ast.YieldFrom, ast.AsyncWith, ast.AsyncFor)
    return any(isinstance(part, waits) for part in ast.walk(block))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nodes_are_pure_and_can_be_closed(file: Path) -> None:
    assert faults(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import asyncio", "imports asyncio"),
        ("from time import monotonic", "imports time"),
        ("import http.client", "imports http.client"),
        ("from flowengine.runtime.walk import Walk", "imports flowengine.runtime.walk"),
        ("try: x\nexcept BaseException: y", "catches BaseException"),
        ("try: x\nexcept: y", "catches everything"),
        ("try: x\nexcept (ValueError, GeneratorExit): y", "catches (ValueError, GeneratorExit)"),
        ("async def f():\n try: x\n finally: await y", "awaits while closing"),
        ("async def f():\n try: x\n except ValueError: await y", "awaits while closing"),
        ("async def f():\n async with x: y", "has an async with or for"),
    ],
)
def test_the_scan_finds_what_it_looks_for(source: str, fault: str) -> None:
    assert faults(source) == [fault]
