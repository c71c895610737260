"""What is wrong in a flow document: one finding per mistake, with place and advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake or doubt.

    `code` is stable; `path` a JSON path (`$.nodes.welcome.say`); `message` says what is wrong,
    `fix` what to write instead; `trace` a way through the nodes, where one matters.
    """

    code: str
    severity: Literal["error", "warning"]
    path: str
    message: str
    fix: str = ""
    trace: tuple[str, ...] = ()
