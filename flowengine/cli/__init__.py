"""The commands of `flowengine`, one file each; `main` is the entry point.

A command's module has `register(app)`. Modules are found here, so that a command is added by
adding its file.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import typer

from flowengine import __version__
from flowengine.errors import FlowengineError


def build() -> typer.Typer:
    """The command line with every command."""
    app = typer.Typer(
        name="flowengine",
        help="Phone calls, answered and placed, that run as graphs of nodes written in JSON.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def flowengine() -> None:
        """Phone calls, answered and placed, that run as graphs of nodes written in JSON."""

    @app.command()
    def version() -> None:
        """Print the version."""
        print(__version__)

    for module in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
        register = getattr(importlib.import_module(f"{__name__}.{module.name}"), "register", None)
        if register is not None:
            register(app)
    return app


def main() -> None:
    """Run the command line; an error of ours is a message, not a traceback."""
    try:
        build()()
    except FlowengineError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except ExceptionGroup as group:
        # Tasks that run side by side raise together: ours are messages there, too.
        ours, others = group.split(FlowengineError)
        if ours is None or others is not None:
            raise
        for found in _single(ours):
            print(found, file=sys.stderr)
        sys.exit(2)


def _single(group: ExceptionGroup[FlowengineError]) -> list[FlowengineError]:
    """The errors of a group and of the groups in it."""
    found: list[FlowengineError] = []
    for error in group.exceptions:
        found.extend(_single(error) if isinstance(error, ExceptionGroup) else [error])
    return found
