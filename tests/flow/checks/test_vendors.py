"""Warnings about models that are shut down and voices that nobody knows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from flowengine.catalog import shipped
from flowengine.flow.checks.codes import CODES
from flowengine.flow.checks.vendors import Offered, vendor_findings
from flowengine.flow.language import Language
from flowengine.nodes import load_kinds

pytestmark = pytest.mark.unit

LANGUAGE = Language(load_kinds())
DAY = date(2026, 11, 26)


def document(defaults: dict[str, Any], use: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "flow": "1",
        "id": "f",
        "start": "bye",
        "defaults": defaults,
        "nodes": {"bye": {"kind": "hangup", "say": "Bye.", **({"use": use} if use else {})}},
        "edges": [],
    }


def found(
    defaults: dict[str, Any],
    use: dict[str, Any] | None = None,
    offered: Offered | None = None,
    day: date = DAY,
) -> list[tuple[str, str]]:
    parsed = LANGUAGE.parse_document(document(defaults, use))
    assert parsed.flow is not None, parsed.findings
    findings = vendor_findings(parsed.flow, shipped(), day, offered)
    return [(item.code, item.path) for item in findings]


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
        ({"tts": {"provider": "deepgram", "voice": "flux-kit-en"}}, None, []),
        ({"tts": {"provider": "nobody", "voice": "ada"}}, None, []),
        (
            {"llm": {"provider": "openai", "model": "gpt-6-lunar"}},
            None,
            [("unknown_model", "$.defaults.llm.model")],
        ),
        ({"llm": {"provider": "openai", "model": "gpt-6-luna-2026-08-07"}}, None, []),
        ({"llm": {"provider": "llama", "model": "llama3.3"}}, None, []),
        ({"stt": {"provider": "whisper", "model": "large-v3"}}, None, []),
        ({"stt": {"provider": "deepgram", "model": "nova-3-medical"}}, None, []),
        ({"tts": {"voice": "ada"}}, None, []),
        (
            {"tts": {"fallback": [{"pronunciation": {"Xyz": "ex"}, "fallback": []}]}},
            {"llm": {"provider": "own", "fallback": [{"fallback": [{"provider": "own"}]}]}},
            [
                ("unused_key", "$.defaults.tts.fallback[0].fallback"),
                ("unused_key", "$.defaults.tts.fallback[0].pronunciation"),
                ("unused_key", "$.nodes.bye.use.llm.fallback[0].fallback"),
            ],
        ),
    ],
)
def test_what_will_not_do_is_told(
    defaults: dict[str, Any], use: dict[str, Any] | None, wanted: list[tuple[str, str]]
) -> None:
    assert found(defaults, use) == wanted


OFFERED: Offered = {"openai": ("stt", "llm", "tts"), "deepgram": ("stt", "tts"), "own": ["llm"]}


@pytest.mark.parametrize(
    ("defaults", "use", "wanted"),
    [
        ({"stt": {"provider": "deepgram"}, "llm": {"provider": "own", "model": "x"}}, None, []),
        (
            {"stt": {"provider": "depgram", "model": "nova-3"}},
            {"stt": {"model": "nova-3"}},
            [("unknown_provider", "$.defaults.stt.provider")],
        ),
        (
            {"llm": {"provider": "deepgram"}},
            None,
            [("wrong_kind", "$.defaults.llm.provider")],
        ),
        (
            {"stt": {"fallback": [{"provider": "own"}]}},
            {"tts": {"provider": "nobody"}},
            [
                ("wrong_kind", "$.defaults.stt.fallback[0].provider"),
                ("unknown_provider", "$.nodes.bye.use.tts.provider"),
            ],
        ),
    ],
)
def test_a_provider_that_cannot_be_had_is_an_error(
    defaults: dict[str, Any], use: dict[str, Any] | None, wanted: list[tuple[str, str]]
) -> None:
    assert found(defaults, use, OFFERED) == wanted
    assert all(CODES[code].severity == "error" for code, _ in wanted)


def test_words_say_what_to_write_instead() -> None:
    parsed = LANGUAGE.parse_document(
        document(
            {
                "stt": {"provider": "depgram"},
                "llm": {"provider": "openai", "model": "gpt-6-lunar"},
                "tts": {"provider": "openai", "model": "tts-1", "voice": "onix"},
            }
        )
    )
    assert parsed.flow is not None
    gone = date(2027, 1, 7)
    told = [
        f"{item.message} {item.fix}"
        for item in vendor_findings(parsed.flow, shipped(), gone, OFFERED)
    ]
    assert "Did you mean 'deepgram'?" in told[0]
    assert "Did you mean 'gpt-6-luna'?" in told[1]
    assert "'tts-1' was shut down on 2027-01-06." in told[2]
    assert "or 'onyx'." in told[3]


def test_a_model_is_warned_of_ninety_days_before() -> None:
    llm = {"llm": {"provider": "openai", "model": "gpt-4o-mini"}}
    sunset = date(2027, 1, 14)
    codes = [
        [code for code, _ in found(llm, day=sunset - timedelta(days=days))] for days in (91, 90, -1)
    ]
    assert codes == [[], ["model_goes"], ["model_goes"]]
