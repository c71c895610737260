"""Findings of checks, as the API shows them and as it refuses with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from flowengine.api.problems import Refused, Wrong
from flowengine.api.routes import Body
from flowengine.flow.findings import Finding


class FindingShown(Body):
    """One mistake or doubt in a document."""

    code: str
    severity: Literal["error", "warning"]
    path: str
    message: str
    fix: str
    trace: list[str]


def shown(findings: Iterable[Finding]) -> list[FindingShown]:
    """Findings in the order of the document."""
    return [
        FindingShown(
            code=one.code,
            severity=one.severity,
            path=one.path,
            message=one.message,
            fix=one.fix,
            trace=list(one.trace),
        )
        for one in findings
    ]


def refused(code: str, what: str, findings: Iterable[Finding]) -> Refused:
    """Refuse a document for its errors."""
    return Refused(
        422,
        code,
        what,
        fix="Correct what `errors` names.",
        errors=[
            Wrong(path=one.path, message=one.message, code=one.code, fix=one.fix)
            for one in findings
            if one.severity == "error"
        ],
    )
