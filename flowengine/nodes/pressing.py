"""Keys that a flow presses by itself: the field type that `say` and `transfer` share."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from flowengine.flow.types import Template, wrong


def _pressable(value: str) -> str:
    written = re.sub(r"\{\{.*?\}\}", "", value, flags=re.DOTALL)
    if not value.strip() or re.search(r"[^0-9A-D*#wW ]", written):
        raise wrong(
            "bad_keys",
            f"{value!r} are no keys to press.",
            "Write 0-9, *, #, and w for half a second of waiting.",
        )
    return value


PressedKeys: TypeAlias = Annotated[Template, AfterValidator(_pressable)]
"""`0-9 * # A-D`, `w` waits half a second; `{{ }}` may stand in it."""
