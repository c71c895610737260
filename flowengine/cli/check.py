"""`flowengine check`: everything that is wrong with flows, before a caller finds it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flowengine import __version__
from flowengine.catalog import Catalog, load_catalog
from flowengine.clock import RealClock
from flowengine.errors import FlowError
from flowengine.flow.checks import check as findings_of
from flowengine.flow.checks.report import as_json, to_sarif, to_text
from flowengine.flow.checks.vendors import vendor_findings
from flowengine.flow.document import Flow
from flowengine.flow.findings import Finding
from flowengine.flow.language import Language
from flowengine.nodes import load_kinds
from flowengine.nodes.flow import SubFlow
from flowengine.providers.registry import offered
from flowengine.runtime.flow_files import subflow_file
from flowengine.runtime.knowledge import file_findings
from flowengine.settings import load_settings


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def check(
        flows: Annotated[list[Path], typer.Argument(help="The flows' JSON files.")],
        format_: Annotated[
            Format, typer.Option("--format", help="For people, programs or code hosts.")
        ] = Format.TEXT,
    ) -> None:
        """Check flows; exit code 1 when one has an error."""
        language = Language(load_kinds())
        catalog = load_catalog(load_settings().catalog)
        checked = [_checked(path, language, catalog) for path in flows]
        _print(checked, format_)
        if any(item.severity == "error" for _, _, found in checked for item in found):
            raise typer.Exit(1)


Checked = tuple[Path, str, list[Finding]]


def _checked(path: Path, language: Language, catalog: Catalog) -> Checked:
    source = _source(path)
    parsed = language.parse(source, path.name)
    if parsed.flow is None:
        return path, source, list(parsed.findings)
    subflows = _subflows(parsed.flow, path, language)
    found = dict.fromkeys(
        [
            *parsed.findings,
            *findings_of(parsed.flow, subflows=subflows),
            *file_findings(parsed.flow, path.parent),
            *vendor_findings(parsed.flow, catalog, RealClock().wall().date(), offered()),
        ]
    )
    return path, source, list(found)


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlowError(
            "no_flow_file",
            f"The flow cannot be read ({type(error).__name__}).",
            where=str(path),
            fix="Give the path of a flow's JSON file.",
        ) from error


def _subflows(flow: Flow, path: Path, language: Language) -> dict[str, Flow]:
    """The flows that a flow calls, all the way down, from the places where `serve` looks too."""
    found: dict[str, Flow] = {}
    waiting = [flow]
    while waiting:
        for node in waiting.pop().nodes.values():
            if isinstance(node, SubFlow) and node.flow not in found and node.flow != flow.id:
                file = subflow_file(node.flow, path.parent)
                inner = language.parse(_source(file), file.name).flow if file else None
                if inner is not None:
                    found[node.flow] = inner
                    waiting.append(inner)
    return found


def _print(checked: list[Checked], format_: Format) -> None:
    match format_:
        case Format.TEXT:
            for path, source, found in checked:
                print(to_text(found, file=path.as_posix(), source=source), end="")
        case Format.JSON:
            reports = [
                {"file": path.as_posix(), **as_json(found, source=source)}
                for path, source, found in checked
            ]
            print(json.dumps(reports, indent=2, ensure_ascii=False))
        case Format.SARIF:
            logs = [
                json.loads(
                    to_sarif(found, file=path.as_posix(), source=source, version=__version__)
                )
                for path, source, found in checked
            ]
            runs = [run for log in logs for run in log["runs"]]
            print(json.dumps({**logs[0], "runs": runs}, indent=2, ensure_ascii=False))
