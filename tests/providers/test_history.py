"""Conversations in the order that Anthropic and Google demand, whatever order they come in."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.ports import LlmMessage, LlmToolUse
from flowengine.providers.history import AFTER, BEFORE, Answered, Turn, arguments_of, turns
from flowengine.providers.tool_ids import fitting, made, of_nine

pytestmark = pytest.mark.unit

texts = st.sampled_from(["", " ", "Hello.", "Yes, Monday.\n"])
ids = st.sampled_from(["a", "b", "c"])


@st.composite
def messages(draw: st.DrawFn) -> LlmMessage:
    role: Literal["system", "user", "assistant", "tool"]
    role = draw(st.sampled_from(("system", "user", "assistant", "tool")))
    if role == "tool":
        return LlmMessage("tool", draw(texts), tool_use_id=draw(ids))
    uses = draw(st.lists(ids, max_size=2, unique=True)) if role == "assistant" else []
    return LlmMessage(role, draw(texts), tuple(LlmToolUse(use, "look", "{}") for use in uses))


@given(st.lists(messages(), max_size=12))
def test_any_conversation_comes_out_in_order(said: list[LlmMessage]) -> None:
    system, found = turns(said)
    assert all(text.strip() for text in system)
    assert found[0].role != "assistant"
    assert found[-1].role == "user"
    for before, turn in itertools.pairwise(found):
        assert before.role != turn.role
    for place, turn in enumerate(found):
        assert turn.parts
        assert all(part.strip() for part in turn.parts if isinstance(part, str))
        uses = [part.id for part in turn.parts if isinstance(part, LlmToolUse)]
        if uses:
            answers = found[place + 1].parts[: len(uses)]
            assert [part.use_id for part in answers if isinstance(part, Answered)] == uses


def test_results_come_right_after_their_calls_and_words_after_them() -> None:
    system, found = turns(
        [
            LlmMessage("system", "Be kind."),
            LlmMessage("assistant", "Hello."),
            LlmMessage("assistant", "", (LlmToolUse("a", "look", "{}"),)),
            LlmMessage("user", "And?"),
            LlmMessage("tool", "free", tool_use_id="a"),
            LlmMessage("assistant", "", (LlmToolUse("lost", "look", "{}"),)),
            LlmMessage("assistant", "It is free."),
        ]
    )
    assert system == ["Be kind."]
    assert found == [
        Turn("user", [BEFORE]),
        Turn("assistant", ["Hello.", LlmToolUse("a", "look", "{}")]),
        Turn("user", [Answered("a", "look", "free"), "And?"]),
        Turn("assistant", ["It is free."]),
        Turn("user", [AFTER]),
    ]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("", {}),
        ('{"day":"Monday"}', {"day": "Monday"}),
        ('{"day"', {"unreadable": '{"day"'}),
        ("[1]", {"unreadable": "[1]"}),
    ],
)
def test_arguments_are_an_object_whatever_was_written(
    written: str, found: dict[str, object]
) -> None:
    assert arguments_of(LlmToolUse("a", "f", written)) == found


@given(st.text(max_size=60))
def test_ids_fit_and_stay_the_same(use_id: str) -> None:
    assert fitting(use_id) == fitting(use_id)
    assert fitting(use_id).replace("_", "a").replace("-", "a").isascii()
    assert len(of_nine(use_id)) == 9
    assert of_nine(of_nine(use_id)) == of_nine(use_id)


def test_made_ids_fit_everywhere_but_at_mistral() -> None:
    assert made() != made()
    assert fitting(made()).startswith("call_")
