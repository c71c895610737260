"""Findings for people, programs and code hosts: text, JSON, SARIF.

Given the document's source, every finding also gets its line and column.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flowengine.flow.checks.codes import CODES
from flowengine.flow.checks.positions import Position, position_of, positions
from flowengine.flow.findings import Finding

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def to_text(findings: Sequence[Finding], *, file: str = "", source: str = "") -> str:
    """One paragraph per finding, and a last line that counts them."""
    placed = _placed(source)
    paragraphs = [_paragraph(finding, file, placed) for finding in findings]
    return "\n".join([*paragraphs, summary(findings)]) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    """How many errors and warnings there are."""
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    if not findings:
        return "No errors, no warnings."
    return f"{_count(errors, 'error')}, {_count(warnings, 'warning')}."


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}".capitalize()


def _placed(source: str) -> dict[str, Position] | None:
    """The positions of the source's values; None when it is missing or no JSON."""
    if not source:
        return None
    try:
        json.loads(source)
    except ValueError:
        return None
    return positions(source)


def _paragraph(finding: Finding, file: str, placed: dict[str, Position] | None) -> str:
    place = finding.path
    if placed is not None:
        position = position_of(placed, finding.path)
        place = f"{file or 'flow'}:{position.line}:{position.column}: {finding.path}"
    elif file:
        place = f"{file}: {finding.path}"
    lines = [f"{place}: {finding.severity}[{finding.code}] {finding.message}"]
    if finding.fix:
        lines.append(f"    {finding.fix}")
    if finding.trace:
        lines.append(f"    path: {' → '.join(finding.trace)}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], *, source: str = "") -> dict[str, Any]:
    """The findings as plain data: `{"errors": n, "warnings": n, "findings": [...]}`."""
    placed = _placed(source)
    errors = sum(finding.severity == "error" for finding in findings)
    return {
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [_as_item(finding, placed) for finding in findings],
    }


def _as_item(finding: Finding, placed: dict[str, Position] | None) -> dict[str, Any]:
    item: dict[str, Any] = {
        "code": finding.code,
        "severity": finding.severity,
        "path": finding.path,
        "message": finding.message,
        "fix": finding.fix,
        "trace": list(finding.trace),
    }
    if placed is not None:
        position = position_of(placed, finding.path)
        item |= {"line": position.line, "column": position.column}
    return item


def to_json(findings: Sequence[Finding], *, source: str = "") -> str:
    """The findings as a JSON text."""
    return json.dumps(as_json(findings, source=source), indent=2, ensure_ascii=False) + "\n"


def to_sarif(findings: Sequence[Finding], *, file: str, source: str = "", version: str) -> str:
    """The findings as SARIF 2.1.0, which code hosts show beside the lines.

    `file` is the document's path as a URI relative to the repository; `version` flowengine's.
    """
    placed = _placed(source)
    used = sorted({finding.code for finding in findings})
    run = {
        "tool": {
            "driver": {
                "name": "flowengine check",
                "version": version,
                "rules": [_rule(code) for code in used],
            }
        },
        "results": [_result(finding, file, placed) for finding in findings],
    }
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(code: str) -> dict[str, Any]:
    known = CODES.get(code)
    rule: dict[str, Any] = {"id": code}
    if known:
        rule["shortDescription"] = {"text": known.meaning}
        rule["defaultConfiguration"] = {"level": known.severity}
    return rule


def _result(finding: Finding, file: str, placed: dict[str, Position] | None) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": file}}
    if placed is not None:
        position = position_of(placed, finding.path)
        physical["region"] = {"startLine": position.line, "startColumn": position.column}
    location = {
        "physicalLocation": physical,
        "logicalLocations": [{"fullyQualifiedName": finding.path}],
    }
    message = " ".join(part for part in (finding.message, finding.fix) if part)
    if finding.trace:
        message += f" Path: {' → '.join(finding.trace)}."
    return {
        "ruleId": finding.code,
        "level": finding.severity,
        "message": {"text": message},
        "locations": [location],
    }
