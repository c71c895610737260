"""The table of findings: code, severity, one line of what it means.

Codes are stable: editors and CI rely on them. Those about the document's shape and about
expressions are given by parsing and compiling; they stand here too, so that reports can describe
every code that can occur.
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


_SHAPE = {
    "bad_encoding": "The file is not UTF-8.",
    "json_syntax": "The file is not JSON.",
    "duplicate_key": "A key stands twice in one object.",
    "unknown_key": "A key that the flow language does not know.",
    "missing_key": "A key that must be there is not.",
    "wrong_type": "A value of the wrong JSON type.",
    "wrong_value": "A value that is not among those allowed.",
    "bad_value": "A value outside what is allowed.",
    "bad_text": "No form of Text.",
    "text_without_else": "A list of Texts whose last item has a guard.",
    "text_without_guard": "An item of a list of Texts, not the last, without a guard.",
    "bad_duration": 'No duration such as "7s".',
    "bad_phone": 'No phone number such as "+33123456789".',
    "bad_timezone": "No time zone.",
    "bad_date": "No date.",
    "bad_days": "No day or range of days.",
    "bad_interval": "No interval of hours.",
    "bad_region": "No country or region.",
    "bad_keys": "No keys of a phone.",
    "bad_trigger": "No trigger of an edge.",
    "bad_from": "No source of an edge.",
    "bad_node_name": "A word that cannot name a node.",
    "bad_choice_name": "A word that cannot name a choice.",
    "bad_variable_name": "A word that cannot name a variable.",
    "reserved_name": "A reserved word names a variable.",
    "bad_bounds": "'min' is above 'max'.",
    "bad_length": "No length.",
    "bad_pattern": "A regular expression that cannot be read.",
    "bad_default": "A default that the variable itself would refuse.",
    "not_in_enum": "A value that is not among those of its enum.",
    "constraint_not_for_type": "A constraint that means nothing for the variable's type.",
    "invalid_without_valid": "'invalid' without 'valid'.",
    "item_without_of": "'item' without 'of'.",
    "type_not_spoken": "A variable whose type cannot be asked for.",
    "unknown_kind": "No kind of node.",
    "unknown_tool_kind": "No kind of tool.",
    "duplicate_edge_id": "Two edges have the same id.",
}
"""Found while the document is read."""

_EXPRESSIONS = {
    "empty_expression": "An expression with nothing in it.",
    "expression_syntax": "An expression that cannot be read.",
    "expression_type": "An expression of the wrong type, or one that compares two types.",
    "unclosed_template": "A {{ without }}.",
    "unknown_name": "An expression names what is not known where it stands.",
}
"""Found while expressions are compiled."""

_ERRORS = {
    # References
    "unknown_node": "A node is named that the flow does not have.",
    "unknown_variable": "A variable is named that the flow does not declare.",
    "unknown_list": "A list is named that the flow does not have.",
    "unknown_tool": "A tool is named that the flow does not have.",
    "unknown_calendar": "A calendar is named that the flow does not have.",
    "unknown_region": "A calendar names a region whose holidays are not known.",
    "unknown_flow": "A sub-flow is named that is not there.",
    "unknown_provider": "A provider is named that is not there.",
    "wrong_kind": "A provider is named for what it does not do.",
    # Edges
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
    # Files
    "no_knowledge_file": "A file that a tool searches is not in the flow's folder.",
    "bad_knowledge_file": "A file that a tool searches holds no words that can be read.",
    "knowledge_too_large": "A file that a tool searches is too large.",
    # Values
    "sensitive_exposed": "A sensitive variable reaches a Text, an LLM, a URL or a webhook.",
    "unset_read": "A variable is read on a path on which nothing has set it.",
    "unbound_input": "A required input is bound by nothing.",
}

_WARNINGS = {
    "unused_key": "A fallback has a key that only the first choice's is used of.",
    "unknown_place": "A position is kept for a node that the flow does not have.",
    "apology": "An outcome that goes wrong ends in the built-in apology.",
    "no_person": "The caller cannot get to a person.",
    "voice_only_menu": "A menu has choices that work by voice alone.",
    "overlapping_keys": "Two things wait for the same key in one node.",
    "overlapping_intents": "Two intents of one node mean the same.",
    "edge_never_taken": "An edge before it takes every event that it waits for.",
    "variable_never_read": "A variable is set or declared and never read.",
    "silent_entry": "The caller is met with silence.",
    "model_goes": "A model is shut down soon, or was.",
    "unknown_model": "A model that the catalog does not know.",
    "unknown_voice": "A voice that the catalog does not know by this name.",
}

CODES: dict[str, Code] = {
    **{
        code: Code(code, "error", meaning)
        for code, meaning in {**_SHAPE, **_EXPRESSIONS, **_ERRORS}.items()
    },
    **{code: Code(code, "warning", meaning) for code, meaning in _WARNINGS.items()},
}
