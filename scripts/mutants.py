"""Breaks what decides in a call, one small change at a time, and counts what the tests notice.

For `runtime/turns.py`, `playout.py`, `walk.py` and `foreseen.py`, each run against its own tests
alone (`tests/runtime/test_turns*.py` and so on). A mutant is one changed operator, constant,
condition or dropped statement; it is killed when a test fails. Exits 1 when less than 85 % of one
module's are killed.

    scripts/mutants.py                  all of them
    scripts/mutants.py turns --show     one of them, with each survivor's change

Every mutant is tried in a forked child that has the libraries imported already, so that a trial
costs little more than its tests.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("turns", "playout", "walk", "foreseen")
WANTED = 0.85
LONGEST_S = 60
SPEAK_EVERY_S = 10.0
PRELOADED = ("hypothesis.strategies", "pydantic", "orjson", "networkx", "cel_expr_python.cel")

SWAPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,),
    ast.FloorDiv: (ast.Mult,),
    ast.Div: (ast.Mult,),
}


@dataclass(frozen=True)
class Mutant:
    """One change of a module."""

    line: int
    change: str
    tree: ast.Module


class Source(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module from a changed tree instead of its file."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Only this one."""
        if fullname != self._name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=str(self._path))

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code as the module."""
        exec(self._code, module.__dict__)  # noqa: S102 - our own source, changed by us


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every small change of a module, in the order of its lines."""
    tree = ast.parse(source)
    sites = list(_sites(tree))
    for index, (node, changes) in enumerate(sites):
        for number in range(len(changes)):
            changed = copy.deepcopy(tree)
            twin, same = list(_sites(changed))[index]
            before = _shown(node)
            same[number]()
            after = _shown(twin)
            ast.fix_missing_locations(changed)
            change = f"{before}  →  {after if after != before else 'dropped'}"
            yield Mutant(getattr(node, "lineno", 0), change, changed)


Change = Callable[[], None]


def _sites(tree: ast.Module) -> Iterator[tuple[ast.AST, list[Change]]]:
    """Each place that can be changed, with its changes; always in the same order."""
    skipped = _skipped(tree)
    for parent in ast.walk(tree):
        for field, index, node in _children(parent):
            if id(node) in skipped:
                continue
            if changes := [*_operators(node), *_constants(node), *_drops(parent, field, index)]:
                yield node, changes


def _skipped(tree: ast.Module) -> set[int]:
    """Nodes that say nothing at run time: docstrings, types, decorators, imports."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Assert():
                roots.append(node)
            case ast.Subscript(value=ast.Name(id="Literal")):
                roots.append(node)
            case ast.ClassDef():
                roots += node.decorator_list
            case ast.FunctionDef(decorator_list=decorators, returns=returns):
                roots += [*decorators, *([returns] if returns else [])]
            case (
                ast.AnnAssign(annotation=annotation) | ast.arg(annotation=ast.expr() as annotation)
            ):
                roots.append(annotation)
            case ast.Raise():
                # What an error says is read by people; that it is raised is tested.
                roots += ast.iter_child_nodes(node)
    return {id(node) for root in roots for node in ast.walk(root)}


def _children(parent: ast.AST) -> Iterator[tuple[str, int, ast.AST]]:
    for field, value in ast.iter_fields(parent):
        if isinstance(value, list):
            yield from (
                (field, at, node) for at, node in enumerate(value) if isinstance(node, ast.AST)
            )
        elif isinstance(value, ast.AST):
            yield field, -1, value


def _operators(node: ast.AST) -> Iterator[Change]:
    """Another operator in its place; a condition turned round."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in SWAPS.get(type(operator), ()):
                yield partial(node.ops.__setitem__, at, other())
    elif isinstance(node, ast.BoolOp | ast.BinOp | ast.AugAssign):
        for other in SWAPS.get(type(node.op), ()):
            yield partial(setattr, node, "op", other())
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        yield lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))


def _constants(node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield lambda: setattr(node, "value", not value)
    elif isinstance(value, int | float):
        yield lambda: setattr(node, "value", value + 1)
    elif isinstance(value, str) and value:
        yield lambda: setattr(node, "value", f"{value}x")


def _drops(parent: ast.AST, field: str, index: int) -> Iterator[Change]:
    """Leave a statement out, inside a function; give back nothing."""
    if (
        index < 0
        or field not in {"body", "orelse", "finalbody"}
        or isinstance(parent, ast.ClassDef)
    ):
        return
    body: list[ast.stmt] = getattr(parent, field)
    node = body[index]
    if isinstance(parent, ast.Module):
        return
    if isinstance(node, ast.Return):
        if node.value is not None and not _is_none(node.value):
            yield lambda: setattr(node, "value", ast.Constant(None))
    elif isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.Raise | ast.Delete):
        yield lambda: body.__setitem__(index, ast.copy_location(ast.Pass(), node))
    elif isinstance(node, ast.Continue | ast.Break):
        other = ast.Break() if isinstance(node, ast.Continue) else ast.Continue()
        yield lambda: body.__setitem__(index, ast.copy_location(other, node))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _shown(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0][:90]


@dataclass(frozen=True)
class Trial:
    """A module and the tests that its mutants have to get past."""

    module: str
    path: Path
    tests: list[str]

    def survivors(self, mutants: list[Mutant], jobs: int) -> list[Mutant]:
        """Try each in a child of its own, some side by side; those with which all tests pass."""
        started = spoken = time.monotonic()
        running: dict[int, int] = {}
        alive: list[int] = []
        left = iter(range(len(mutants)))
        for done in range(1, len(mutants) + 1):
            while len(running) < jobs and (at := next(left, None)) is not None:
                running[self._fork(mutants[at])] = at
            child, status = os.wait()
            at = running.pop(child)
            if os.waitstatus_to_exitcode(status) == pytest.ExitCode.OK:
                alive.append(at)
            if (now := time.monotonic()) - spoken > SPEAK_EVERY_S:
                spoken = now
                tried = f"{done}/{len(mutants)} tried, {len(alive)} alive"
                print(f"  {now - started:4.0f} s  {tried}", flush=True)
        return [mutants[at] for at in sorted(alive)]

    def _fork(self, mutant: Mutant) -> int:
        """Start the tests with the mutant; one that runs on is stopped, and so is killed."""
        child = os.fork()
        if child:
            return child
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST_S)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        code = 1
        try:
            changed = compile(mutant.tree, str(self.path), "exec")
            sys.meta_path.insert(0, Source(self.module, self.path, changed))
            code = _run(self.tests)
        finally:
            os._exit(code)


def _run(tests: list[str]) -> int:
    options = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # The alarm above is the time limit: the plugin's would take its signal.
    return int(pytest.main([*options, "-o", "timeout=0", *tests]))


def attack(stem: str, jobs: int, *, show: bool, limit: int) -> tuple[int, int]:
    """Try the mutants of one module; print and give how many were killed, of how many."""
    path = ROOT / "flowengine" / "runtime" / f"{stem}.py"
    tests = [str(file) for file in sorted((ROOT / "tests/runtime").glob(f"test_{stem}*.py"))]
    if not tests:
        print(f"{stem}: it has no tests of its own")
        return 0, 1
    source = path.read_text()
    trial = Trial(f"flowengine.runtime.{stem}", path, tests)
    if not trial.survivors([Mutant(0, "", ast.parse(source))], 1):
        print(f"{stem}: its tests fail as it is: {' '.join(tests)}")
        return 0, 1
    mutants = list(mutants_of(source))
    mutants = mutants[:: max(1, len(mutants) // limit)] if limit else mutants
    print(f"{stem}: {len(mutants)} mutants", flush=True)
    survivors = trial.survivors(mutants, jobs)
    killed = len(mutants) - len(survivors)
    print(f"{stem}: killed {killed}, survived {len(survivors)}: {killed / len(mutants):.1%}")
    for mutant in survivors if show else []:
        print(f"  {path.relative_to(ROOT)}:{mutant.line}  {mutant.change}")
    return killed, len(mutants)


def main() -> int:
    """Try the modules; 1 when too many mutants live."""
    parser = argparse.ArgumentParser(description="Do the tests notice when the code is broken?")
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], help="default: all")
    parser.add_argument("--show", action="store_true", help="print each survivor's change")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=int, default=0, help="try only about so many of each")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(ROOT))
    for name in PRELOADED:
        importlib.import_module(name)
    results = {
        stem: attack(stem, chosen.jobs, show=chosen.show, limit=chosen.limit)
        for stem in chosen.modules or MODULES
    }
    killed = sum(found for found, _ in results.values())
    tried = sum(total for _, total in results.values())
    weak = [stem for stem, (found, total) in results.items() if found < WANTED * total]
    print(f"killed {killed} of {tried} mutants: {killed / tried:.1%}, wanted {WANTED:.0%} of each")
    if weak:
        print(f"below: {', '.join(weak)}; see `scripts/mutants.py {weak[0]} --show`")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
