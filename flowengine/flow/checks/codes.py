"""The table of findings that checks make: code, severity, one line of what it means.

Codes are stable: editors, CI and suppressions rely on them. Codes of findings about the
document's shape (`unknown_key`, `wrong_type` …) and about expressions come from parsing; they
stand here too, so that reports can describe every code that can occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding."""

    code: str
    severity: Severity
    meaning: str


_ERRORS = {
    # References
    "unknown_node": "A node is named that the flow does not have.",
    "unknown_variable": "A variable is named that the flow does not declare.",
    "unknown_list": "A list is named that the flow does not have.",
    "unknown_tool": "A tool is named that the flow does not have.",
    "unknown_calendar": "A calendar is named that the flow does not have.",
    "unknown_region": "A calendar names a region whose holidays are not known.",
    "unknown_flow": "A sub-flow is named that is not there.",
    # Edges
    "duplicate_edge_id": "Two edges have the same id.",
    "unknown_outcome": "An edge leaves on an outcome that its node cannot end with.",
    "star_trigger": "A `*` edge carries a trigger that only a node's own edge may carry.",
    "unhandled_outcome": "A `done`, a choice or a return can happen and no edge takes it.",
    "key_begins_value": "An edge's key is the first key of a valid value of its keyed collect.",
    # The graph
    "unreachable_node": "No way leads from the start to the node.",
    "dead_end": "From the node no hangup, transfer or return can be reached.",
    "flow_recursion": "Sub-flows call each other for ever.",
    "silent_loop": "A loop can turn without the caller doing anything.",
    "too_many_nodes": "The flow has more nodes than a flow may have.",
    # Values
    "sensitive_exposed": "A sensitive variable reaches a Text, an LLM, a URL or a webhook.",
    "unset_read": "A variable is read on a path on which nothing has set it.",
    "unbound_input": "A required input is bound by nothing.",
}

_WARNINGS = {
    "unknown_place": "A position is kept for a node that the flow does not have.",
    "apology": "An outcome that goes wrong ends in the built-in apology.",
    "no_person": "The caller cannot get to a person.",
    "voice_only_menu": "A menu has choices that work by voice alone.",
    "overlapping_keys": "Two things wait for the same key in one node.",
    "overlapping_intents": "Two intents of one node mean the same.",
    "edge_never_taken": "An edge before it takes every event that it waits for.",
    "variable_never_read": "A variable is set or declared and never read.",
    "silent_entry": "The caller is met with silence.",
}

CODES: dict[str, Code] = {
    **{code: Code(code, "error", meaning) for code, meaning in _ERRORS.items()},
    **{code: Code(code, "warning", meaning) for code, meaning in _WARNINGS.items()},
}
