"""Makes `.venv` and puts flowengine into it, once; what `make demo` and `make test` call first.

Needs nothing but the Python that runs it. `set_up.py run` installs what a call needs, `set_up.py
dev` the tools of the tests too, and both finish with the package itself, built from this tree (not
editable: what runs is what a user would install). Each step leaves a stamp in `.venv`, and is done
again only when what it stands on has changed. pip's own words are kept in `.venv/set-up.log`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

Finished = subprocess.CompletedProcess[str]

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "set-up.log"
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST = (3, 11)
SPEAK_EVERY_S = 5.0
# pip's words for a package that does not exist for this platform; the second, with constraints.
NO_WHEEL = ("No matching distribution found", "ResolutionImpossible", "not a supported wheel")
THERE, DONE, FAILED = "there", "done", "failed"


def main(arguments: list[str]) -> int:
    """Set up; give the exit code."""
    if arguments not in (["run"], ["dev"]):
        print("usage: set_up.py run|dev")
        return 2
    problem = _problem()
    if problem:
        print(problem)
        return 1
    started = time.monotonic()
    done: list[str] = []
    for step in (_environment, partial(_dependencies, arguments[0]), _package):
        if FAILED not in done:
            done.append(step())
    if FAILED in done:
        print(f"  set-up stopped; see also {LOG.relative_to(ROOT)}")
        return 1
    if DONE in done:
        print(f"  set-up finished in {time.monotonic() - started:.0f} s")
    return 0


def _problem() -> str:
    """Why this Python cannot do it, and what to do; empty when it can."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.version_info < OLDEST:
        return (
            f"flowengine needs Python 3.11 or newer; this is {version}. Try: make PYTHON=python3.12"
        )
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        return (
            f"This Python {version} cannot make a virtual environment. On Debian and Ubuntu: "
            f"apt-get install python{version}-venv"
        )
    return ""


def _environment() -> str:
    # Made last, so that a set-up which was interrupted starts again.
    if (VENV / "bin" / "pip").exists():
        return THERE
    print("[1/3] making .venv", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False)
    if made.returncode != 0:
        return FAILED
    LOG.touch()
    return DONE


def _dependencies(purpose: str) -> str:
    """Install what flowengine stands on; without local speech where it has no wheels."""
    wanted = _digest([ROOT / "pyproject.toml", CONSTRAINTS])
    extras = ["local"]
    if purpose == "dev":
        extras += ["cartesia", "google", "mcp", "postgres", "s3", "dev"]
    if any(_stamp(f"installed-{kept}") == wanted for kept in {purpose, "dev"}):
        return THERE
    for_tests = " and the tools of the tests" if purpose == "dev" else ""
    print(f"[2/3] installing packages{for_tests} (some 200 MB the first time)", flush=True)
    builder = _pip("install", *_locked(), "hatchling")
    if builder.returncode != 0:
        return _failed(builder)
    installed = _install(extras)
    if installed.returncode != 0 and any(words in installed.stdout for words in NO_WHEEL):
        print("  Local speech has no packages for this platform and Python: going on without it.")
        print("  The demo runs by keypad and text here; everything else is the same.")
        installed = _install([extra for extra in extras if extra != "local"])
    if installed.returncode != 0:
        return _failed(installed)
    _set_stamp(f"installed-{purpose}", wanted)
    return DONE


def _install(extras: list[str]) -> Finished:
    chosen = f".[{','.join(extras)}]" if extras else "."
    return _pip("install", *_locked(), "--no-build-isolation", chosen)


def _package() -> str:
    """Install this tree itself; no network, since everything it needs is there."""
    sources = [path for path in _sources() if path.is_file()]
    now = _digest([ROOT / "pyproject.toml", *sorted(sources)])
    if _stamp("package") == now:
        return THERE
    print("[3/3] installing flowengine from this tree", flush=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall")
    installed = _pip("install", *options, ".")
    if installed.returncode != 0:
        return _failed(installed)
    _set_stamp("package", now)
    return DONE


def _sources() -> Iterable[Path]:
    for folder in ("flowengine", "flows"):
        for path in (ROOT / folder).rglob("*"):
            if "__pycache__" not in path.parts:
                yield path


def _pip(*arguments: str) -> Finished:
    """Run pip; say every few seconds what it is at."""
    command = [str(_python()), "-m", "pip", "--no-input", "--disable-pip-version-check"]
    command += arguments
    started = spoken = time.monotonic()
    lines: list[str] = []
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PIP_PROGRESS_BAR": "off"},
        ) as pip,
    ):
        for line in pip.stdout or ():
            log.write(line)
            lines.append(line)
            now = time.monotonic()
            if line.strip() and now - spoken >= SPEAK_EVERY_S:
                spoken = now
                print(f"  {now - started:4.0f} s  {line.strip()[:80]}", flush=True)
    return subprocess.CompletedProcess(command, pip.returncode, "".join(lines))


def _failed(pip: Finished) -> str:
    for line in pip.stdout.splitlines():
        if line.startswith("ERROR"):
            print(f"  pip: {line}")
    return FAILED


def _locked() -> tuple[str, ...]:
    # Bytecode is written as modules are first imported: compiling every SDK takes longer.
    return ("--no-compile", "-c", str(CONSTRAINTS))


def _python() -> Path:
    return VENV / "bin" / "python"


def _digest(paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(str(path.relative_to(ROOT)).encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _stamp(name: str) -> str:
    path = VENV / f".{name}"
    return path.read_text() if path.exists() else ""


def _set_stamp(name: str, value: str) -> None:
    (VENV / f".{name}").write_text(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
