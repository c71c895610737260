"""Writes the generated parts of `docs/*.md` anew, from the models that are their one source.

A generated part stands between `<!-- made: NAME -->` and `<!-- end -->`; everything else is written
by hand and left alone. `python scripts/make_docs.py` writes the pages; with `--check` it only says
which are stale, and exits 1 if any is. A test holds the same.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flowengine.flow.calendar_model import Calendar
from flowengine.flow.cel_env import reserved_words
from flowengine.flow.checks.codes import CODES
from flowengine.flow.defaults import Defaults, Limits, LlmUse, Retry, SttUse, TtsUse, TurnTaking
from flowengine.flow.document import Flow
from flowengine.flow.edge_model import Edge
from flowengine.flow.kind import Node, OutcomeSpec
from flowengine.flow.tools import HttpTool, KnowledgeTool, McpTool, PythonTool, Tool
from flowengine.flow.variables import Variable, VariableType
from flowengine.nodes import load_kinds
from flowengine.runtime.happenings import TYPES
from flowengine.runtime.lifecycle import diagram
from flowengine.runtime.route_reading import CODES as ROUTE_CODES
from flowengine.runtime.route_when import CalendarIs, CallerIs, LoadIs, ShareIs, TextIs, When
from flowengine.runtime.routes import (
    AskTarget,
    FlowTarget,
    RouteTable,
    RouteTest,
    Rule,
    SplitTarget,
)
from flowengine.settings import PREFIX, Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
COMMON = frozenset(Node.model_fields)
PART = re.compile(r"(<!-- made: (?P<name>[a-z -]+) -->\n).*?(<!-- end -->)", re.DOTALL)

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "greeting": {"say": "Thanks for calling. How can I help?"},
    "say": {"say": "Your code is {{ digits(code) }}."},
    "dialog": {"prompt": "Find out why the caller is calling.", "collect": ["reason"]},
    "collect": {"var": "day", "say": "Which day would you like?"},
    "menu": {
        "say": "For sales, press 1.",
        "choices": {"sales": {"key": "1", "words": ["sales", "a quote"]}},
    },
    "route": {},
    "extract": {"values": ["summary"], "prompt": "Write for the colleague who takes over."},
    "tool": {"tool": "find_patient", "say": "One moment."},
    "transfer": {"to": ["+33123456789", "+33123456780"], "ring": "20s", "say": "I connect you."},
    "message": {"text": "Your appointment is on {{ day }}."},
    "record": {"say": "Please leave a message after the tone."},
    "wait": {"longest": "20s", "say": "Please hold.", "hold": {"audio": "music.wav"}},
    "flow": {"flow": "callback", "with": {"topic": "reason"}, "save": {"number": "result.number"}},
    "return": {"as": "agreed"},
    "hangup": {"say": "Goodbye.", "disposition": "served"},
}
"""One node of each kind, as it stands on the page."""


@dataclass(frozen=True)
class ExampleFlow:
    """What an example asks about the flow around it."""

    variables: Mapping[str, Variable] = field(default_factory=dict)
    tools: Mapping[str, Tool] = field(default_factory=dict)

    def returns(self, flow_id: str) -> tuple[OutcomeSpec, ...] | None:
        """The sub-flow of the example returns these."""
        return (OutcomeSpec("agreed", needs_edge=True), OutcomeSpec("refused", needs_edge=True))


# --- tables ---


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def model_table(model: type[BaseModel], *, without: frozenset[str] = frozenset()) -> str:
    """The keys of a model: what each is, its default, what it is for."""
    schema = model.model_json_schema(by_alias=True)
    if "$ref" in schema:
        # A model that holds itself is only named at the top.
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    required = schema.get("required", [])
    names = {info.alias or name: name for name, info in model.model_fields.items()}
    rows = []
    for key, part in schema["properties"].items():
        if names.get(key, key) in without:
            continue
        default = "required" if key in required else _default(part)
        rows.append([f"`{key}`", form(part), default, part.get("description", "")])
    return table(["key", "value", "default", "meaning"], rows) if rows else ""


def form(part: Mapping[str, Any]) -> str:
    """What a value is, in words, from its JSON Schema."""
    named = {
        "text": "Text",
        "duration": "duration",
        "cel": "expression",
        "template": "string with `{{ }}`",
        "json": "JSON with `{{ }}`",
        "variable": "variable",
        "node": "node",
        "tool": "tool",
        "flow": "flow",
        "phone": "phone number",
        "list": "name of a list",
        "calendar": "name of a calendar",
    }
    if "x-flow" in part:
        return named[part["x-flow"]]
    if "$ref" in part:
        return _part_name(part["$ref"].rpartition("/")[2])
    if "anyOf" in part:
        forms = [form(item) for item in part["anyOf"] if item.get("type") != "null"]
        return " or ".join(dict.fromkeys(forms))
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    match part.get("type"):
        case "array":
            return f"list of {form(part['items'])}" if part.get("items") else "list"
        case "object":
            values = part.get("additionalProperties")
            for pattern in part.get("patternProperties", {}).values():
                values = pattern
            return f"{{name: {form(values)}}}" if isinstance(values, dict) else "object"
        case str(plain):
            return plain
    return "JSON"


def _part_name(model: str) -> str:
    links = {"MenuChoice": "{`key`, `words`}", "MachineDetection": "{`detect`, `beep`}"}
    links |= {"LastTurns": '{`"last"`: n}', "Position": "{`x`, `y`}", "Node": "node"}
    links |= dict.fromkeys(("HttpTool", "PythonTool", "McpTool"), "tool")
    links |= {"OnDigits": '`{"digits": …}`', "OnWhen": '`{"when": …}`'}
    links |= {"OnIntent": '`{"intent": …}`'}
    links |= {"When": "`when`", "CallerIs": "`caller`", "CalendarIs": "`calendar`"}
    links |= {"LoadIs": "`load`", "ShareIs": "`share`", "TextIs": "`prefix`, `present`"}
    links |= {"LoadOf": '`{"flow": id}`', "Rule": "rule", "RouteTest": "test"}
    links |= {f"{key.title()}Target": "target" for key in ("flow", "forward", "refuse")}
    links |= {"AskTarget": "target", "SplitTarget": "target", "Side": "{`weight`, `to`}"}
    known = {"Retry", "Use", "Limits", "TurnTaking", "Calendar", "Variable", "Edge", "Defaults"}
    known |= {"SttUse", "LlmUse", "TtsUse"}
    if model in known:
        word = {"TurnTaking": "turn_taking", "SttUse": "stt", "LlmUse": "llm", "TtsUse": "tts"}
        return f"`{word.get(model, model.lower())}`"
    return links.get(model, model)


def _default(part: Mapping[str, Any]) -> str:
    value = part.get("default")
    if value in (None, "", [], {}):
        return ""
    if value == {"outcomes": ["done"]}:
        value = "done"  # as it is written
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _outcome(spec: OutcomeSpec) -> str:
    notes = [f"`result`: {', '.join(f'`{name}`' for name in spec.result)}"] if spec.result else []
    notes += ["needs an edge"] if spec.needs_edge else []
    notes += [f"{spec.when} only"] if spec.when != "always" else []
    return f"`{spec.name}`" + (f" ({'; '.join(notes)})" if notes else "")


# --- parts ---


def part_kind(name: str) -> str:
    """Example, settings and outcomes of one kind of node."""
    kind = load_kinds()[name]
    document = {"kind": name, **EXAMPLES[name]}
    node = kind.model_validate(document)
    ends = [_outcome(spec) for spec in node.outcomes(ExampleFlow())]
    lines = [f"```json\n{json.dumps(document, ensure_ascii=False)}\n```\n"]
    settings = model_table(kind, without=COMMON)
    if settings:
        lines.append(settings)
    lines.append(f"Outcomes of this example: {', '.join(ends) or 'none'}.\n")
    return "\n".join(lines)


def part_kinds() -> str:
    """All kinds in a table."""
    rows = []
    order = list(EXAMPLES)
    for name, kind in sorted(load_kinds().items(), key=lambda item: order.index(item[0])):
        does = kind.model_fields["kind"].description or ""
        marks = [
            ("speaks", kind.speaks),
            ("listens", kind.listens),
            ("may use an LLM", kind.thinks),
        ]
        what = ", ".join(word for word, holds in marks if holds)
        rows.append([f"[`{name}`](#{name})", does, what])
    return table(["kind", "does", "and"], rows)


def part_codes() -> str:
    """Every code that a check can give."""
    ordered = sorted(CODES.values(), key=lambda code: (code.severity, code.code))
    return table(
        ["code", "severity", "meaning"],
        [[f"`{code.code}`", code.severity, code.meaning] for code in ordered],
    )


def part_settings() -> str:
    """The environment variables that are the engine's own."""
    rows = []
    descriptions = _docstrings_of_settings()
    for name, info in Settings.model_fields.items():
        if name == "vendors":
            continue
        alias = info.validation_alias
        variable = alias if isinstance(alias, str) else PREFIX + name.upper()
        default = "" if info.is_required() or info.default_factory else info.default
        is_empty = default is None or str(default) in ("", "**********")
        shown = (
            ""
            if is_empty
            else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        )
        what = info.title or name.replace("_", " ").capitalize()
        rows.append([f"`{variable}`", shown, f"{what}. {descriptions.get(name, '')}".strip()])
    return table(["variable", "default", "meaning"], rows)


def _docstrings_of_settings() -> dict[str, str]:
    """What stands under each field of `Settings`."""
    import ast
    import inspect
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError("Settings is no class")
    found: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[before.target.id] = " ".join(text.split())
    return found


def part_types() -> str:
    """The types of variables."""
    return ", ".join(f"`{name}`" for name in get_args(VariableType)) + ".\n"


def part_reserved() -> str:
    """Words that cannot name a variable."""
    return ", ".join(f"`{word}`" for word in reserved_words) + ".\n"


def part_route_codes() -> str:
    """What can be wrong with a routing table."""
    return table(["code", "meaning"], [[f"`{code}`", ROUTE_CODES[code]] for code in ROUTE_CODES])


def part_happenings() -> str:
    """The types of live events."""
    return table(["type", "says"], [[f"`{name}`", TYPES[name]] for name in TYPES])


PARTS: Mapping[str, Callable[[], str]] = {
    "kinds": part_kinds,
    "common": lambda: model_table(Node, without=frozenset({"kind"})),
    "document": lambda: model_table(Flow),
    "variable": lambda: model_table(Variable),
    "types": part_types,
    "reserved": part_reserved,
    "calendar": lambda: model_table(Calendar),
    "defaults": lambda: model_table(Defaults),
    "stt": lambda: model_table(SttUse),
    "llm": lambda: model_table(LlmUse),
    "tts": lambda: model_table(TtsUse),
    "turn taking": lambda: model_table(TurnTaking),
    "retry": lambda: model_table(Retry),
    "limits": lambda: model_table(Limits),
    "http": lambda: model_table(HttpTool, without=frozenset({"kind"})),
    "python": lambda: model_table(PythonTool, without=frozenset({"kind"})),
    "mcp": lambda: model_table(McpTool, without=frozenset({"kind"})),
    "knowledge": lambda: model_table(KnowledgeTool, without=frozenset({"kind"})),
    "edge": lambda: model_table(Edge),
    "codes": part_codes,
    "routes": lambda: model_table(RouteTable),
    "route rule": lambda: model_table(Rule),
    "route when": lambda: model_table(When),
    "route caller": lambda: model_table(CallerIs),
    "route calendar": lambda: model_table(CalendarIs),
    "route text": lambda: model_table(TextIs),
    "route load": lambda: model_table(LoadIs),
    "route share": lambda: model_table(ShareIs),
    "route flow": lambda: model_table(FlowTarget),
    "route split": lambda: model_table(SplitTarget),
    "route ask": lambda: model_table(AskTarget),
    "route test": lambda: model_table(RouteTest),
    "route codes": part_route_codes,
    "settings": part_settings,
    "happenings": part_happenings,
    "lifecycle": lambda: f"```mermaid\n{diagram()}```\n",
}


def made(name: str) -> str:
    """One generated part. Raises KeyError for a name that nobody makes."""
    if name.startswith("kind "):
        return part_kind(name.removeprefix("kind "))
    return PARTS[name]()


def renewed(page: str) -> str:
    """A page with its generated parts made anew."""
    return PART.sub(lambda found: f"{found[1]}\n{made(found['name'])}\n{found[3]}", page)


def parts_of(page: str) -> Iterator[str]:
    """The names of a page's generated parts."""
    for found in PART.finditer(page):
        yield found["name"]


def main(arguments: Sequence[str]) -> int:
    """Write or check the pages; the exit code."""
    stale = []
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(after, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'is stale' if '--check' in arguments else 'made anew'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
