"""Warnings about models that are shut down and voices that nobody knows."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from flowengine.catalog import shipped
from flowengine.flow.checks.vendors import vendor_findings
from flowengine.flow.language import Language
from flowengine.nodes import load_kinds

pytestmark = pytest.mark.unit

LANGUAGE = Language(load_kinds())
DAY = date(2026, 11, 26)


def found(defaults: dict[str, Any], use: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    node = {"kind": "hangup", "say": "Bye.", **({"use": use} if use else {})}
    document = {
        "flow": "1",
        "id": "f",
        "start": "bye",
        "defaults": defaults,
        "nodes": {"bye": node},
        "edges": [],
    }
    parsed = LANGUAGE.parse_document(document)
    assert parsed.flow is not None, parsed.findings
    return [(item.code, item.path) for item in vendor_findings(parsed.flow, shipped(), DAY)]


@pytest.mark.parametrize(
    ("defaults", "use", "wanted"),
    [
        ({"llm": {"provider": "openai", "model": "gpt-6-luna"}}, None, []),
        (
            {"llm": {"provider": "openai", "model": "gpt-4o-mini"}},
            None,
            [("model_goes", "$.defaults.llm.model")],
        ),
        (
            {
                "llm": {
                    "provider": "openai",
                    "model": "gpt-6-luna",
                    "fallback": [{"provider": "anthropic", "model": "claude-sonnet-4-5"}],
                }
            },
            None,
            [("model_goes", "$.defaults.llm.fallback[0].model")],
        ),
        # The ordinary model of a vendor goes too; the flow may not know that it uses it.
        ({"tts": {"provider": "openai"}}, None, [("model_goes", "$.defaults.tts")]),
        (
            {"llm": {"provider": "openai"}},
            {"llm": {"model": "gpt-4.1"}},
            [("model_goes", "$.nodes.bye.use.llm.model")],
        ),
        ({"tts": {"provider": "elevenlabs", "voice": "rachel"}}, None, []),
        ({"tts": {"provider": "elevenlabs", "voice": "AZnzlk1XvdvUeBnXmlld"}}, None, []),
        (
            {"tts": {"provider": "elevenlabs", "voice": "rachell"}},
            None,
            [("unknown_voice", "$.defaults.tts.voice")],
        ),
        (
            {"tts": {"provider": "elevenlabs", "voice": {"en-US": "rachel", "nl-NL": "saskia"}}},
            None,
            [("unknown_voice", "$.defaults.tts.voice.nl-NL")],
        ),
        ({"tts": {"provider": "nobody", "voice": "ada"}}, None, []),
        ({"tts": {"voice": "ada"}}, None, []),
    ],
)
def test_what_will_not_do_is_told(
    defaults: dict[str, Any], use: dict[str, Any] | None, wanted: list[tuple[str, str]]
) -> None:
    assert found(defaults, use) == wanted
