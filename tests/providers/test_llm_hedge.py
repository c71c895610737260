"""A late LLM gets another one beside it: who answers, what is given up, what it cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowengine.errors import ProviderError
from flowengine.events import Usage
from flowengine.ports import LlmEnd, LlmEvent, LlmRequest, LlmSpent, LlmText, LlmUsage
from flowengine.providers.anthropic import AnthropicLlm
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.faults import fault
from flowengine.providers.supervision import LlmChoice, SupervisedLlm
from flowengine.testing.providers.answers import saying
from flowengine.testing.providers.anthropic import FakeAnthropic
from flowengine.testing.providers.openai import FakeOpenAi
from flowengine.testing.providers.serving import KEY, Fault
from tests.providers.running import LLM, kept, llm_at, run
from tests.providers.virtual_time import run_virtually

pytestmark = pytest.mark.unit

LIMITS = Deadlines()
HEDGE_S = LIMITS.llm_hedge_ms / 1000
FIRST_S = LIMITS.llm_first_token_ms / 1000
RECOVERY_S = LIMITS.recovery_ms / 1000
FOREVER = 3600.0

Step = float | str
"""A wait in seconds, or what comes: `usage`, `life`, `end`, `bug`, a word, or `!` and a code."""


@dataclass
class Scripted:
    """An LLM that plays one script for each time that it is asked, the last one again and again."""

    name: str
    scripts: Sequence[Sequence[Step]]
    closing_s: float = 0.0
    asked_s: list[float] = field(default_factory=list)
    closed_s: list[float] = field(default_factory=list)

    async def stream(self, request: LlmRequest) -> AsyncGenerator[LlmEvent, None]:
        loop = asyncio.get_running_loop()
        script = self.scripts[min(len(self.asked_s), len(self.scripts) - 1)]
        self.asked_s.append(loop.time())
        try:
            for step in script:
                match step:
                    case float(seconds):
                        await asyncio.sleep(seconds)
                    case "usage":
                        yield LlmUsage(Usage(self.name, "exact", "tokens", 77))
                    case "life":
                        yield LlmText("")
                    case "end":
                        yield LlmEnd("stop", None)
                    case "bug":
                        raise LookupError("bug")
                    case str(word) if word.startswith("!"):
                        raise fault(word[1:], "scripted", self.name)
                    case str(word):
                        yield LlmText(word)
        finally:
            if self.closing_s:
                await asyncio.sleep(self.closing_s)
            self.closed_s.append(loop.time())


@dataclass
class Answered:
    """What came of a request."""

    words: list[str] = field(default_factory=list)
    first_s: float | None = None
    usage: Usage | None = None
    spent: tuple[Usage, ...] = ()
    ended: bool = False
    code: str = ""


async def answered(llm: SupervisedLlm, leaves_s: float = FOREVER) -> Answered:
    """Ask, and go away after so long, whatever has come by then."""
    got = Answered()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(leaves_s), aclosing(llm.stream(LLM)) as events:
            async for event in events:
                match event:
                    case LlmUsage(usage):
                        got.usage = usage
                    case LlmSpent(usages):
                        got.spent = usages
                    case _:
                        got.first_s = loop.time() if got.first_s is None else got.first_s
                if isinstance(event, LlmText):
                    got.words.append(event.text)
                got.ended = got.ended or isinstance(event, LlmEnd)
    except ProviderError as error:
        got.code = error.code
    except TimeoutError:
        got.code = "left"
    return got


def supervised(*llms: Scripted) -> SupervisedLlm:
    return SupervisedLlm([LlmChoice(llm) for llm in llms], LIMITS)


def estimate(name: str, out: int = 0) -> Usage:
    return Usage(name, LLM.model, "tokens", 2, out, estimated=True, wasted=True)


HANGS: list[Step] = [FOREVER]


def test_the_second_answers_when_the_first_says_nothing() -> None:
    first, second = Scripted("first", [HANGS]), Scripted("second", [[0.2, "Hello.", "end"]])
    llm = supervised(first, second)
    got = run_virtually(answered(llm))
    assert (got.words, got.ended) == (["Hello."], True)
    assert second.asked_s == [pytest.approx(HEDGE_S)]
    assert got.first_s == pytest.approx(HEDGE_S + 0.2)
    assert first.closed_s == [pytest.approx(HEDGE_S + 0.2)]
    assert got.spent == (estimate("first"),)
    assert got.usage == Usage("second", LLM.model, "tokens", 2, 2, estimated=True)
    assert llm.counts == {"first.hedged": 1}


def test_the_first_may_still_win_and_the_second_is_paid_for() -> None:
    first = Scripted("first", [[HEDGE_S + 0.5, "Hello.", "end"]])
    second = Scripted("second", [["usage", 1.0, "Too late.", "end"]])
    got = run_virtually(answered(supervised(first, second)))
    assert got.words == ["Hello."]
    assert second.closed_s == [pytest.approx(HEDGE_S + 0.5)]
    exact = Usage("second", "exact", "tokens", 77, estimated=True, wasted=True)
    assert got.spent == (exact,)
    assert got.usage is not None
    assert got.usage.provider == "first"


def test_of_two_that_begin_in_one_moment_the_preferred_one_answers() -> None:
    first = Scripted("first", [[HEDGE_S + 0.5, "One.", "end"]])
    second = Scripted("second", [[0.5, "Two.", "end"]])
    got = run_virtually(answered(supervised(first, second)))
    assert got.words == ["One."]
    assert len(second.closed_s) == 1


def test_one_that_is_in_time_is_asked_alone() -> None:
    first, second = Scripted("first", [[1.4, "Hello.", 3.0, "You.", "end"]]), Scripted("s", [HANGS])
    got = run_virtually(answered(supervised(first, second)))
    assert (got.words, got.spent, second.asked_s) == (["Hello.", "You."], (), [])


def test_without_another_choice_there_is_nothing_to_hedge_with() -> None:
    first = Scripted("first", [HANGS, [0.1, "Hello.", "end"]])
    got = run_virtually(answered(supervised(first)))
    assert first.asked_s == [0.0, pytest.approx(FIRST_S)]
    assert got.words == ["Hello."]


def test_who_writes_a_long_tool_call_is_not_late() -> None:
    alive: list[Step] = [1.0, "life", 1.0, "life", 1.0, "Well.", "end"]
    first, second = Scripted("first", [alive]), Scripted("second", [HANGS])
    got = run_virtually(answered(supervised(first, second)))
    assert (got.words, second.asked_s) == (["Well."], [])


def test_a_slow_goodbye_of_the_loser_delays_no_token() -> None:
    first = Scripted("first", [HANGS], closing_s=1.0)
    second = Scripted("second", [[0.1, "Hello.", "end"]])
    got = run_virtually(answered(supervised(first, second)))
    assert got.first_s == pytest.approx(HEDGE_S + 0.1)
    assert first.closed_s == [pytest.approx(HEDGE_S + 1.1)]


def test_when_the_second_fails_the_first_is_still_waited_for() -> None:
    first = Scripted("first", [[3.5, "Hello.", "end"]])
    second = Scripted("second", [["!rate_limit"]])
    llm = supervised(first, second)
    got = run_virtually(answered(llm))
    assert (got.words, got.spent) == (["Hello."], ())
    assert llm.counts == {"first.hedged": 1, "second.rate_limit": 1, "first.recovered": 1}


def test_when_both_hang_the_error_comes_within_the_time_of_recovery() -> None:
    first, second = Scripted("first", [HANGS]), Scripted("second", [HANGS])
    loop_s: list[float] = []

    async def asked() -> Answered:
        got = await answered(supervised(first, second))
        loop_s.append(asyncio.get_running_loop().time())
        return got

    got = run_virtually(asked())
    assert got.code == "deadline"
    assert loop_s[0] <= FIRST_S + RECOVERY_S + 0.01
    assert got.spent == (estimate("first"), estimate("second"), estimate("first"))


def test_who_leaves_in_the_middle_of_the_race_closes_both() -> None:
    first, second = Scripted("first", [HANGS]), Scripted("second", [HANGS])
    got = run_virtually(answered(supervised(first, second), leaves_s=2.0))
    assert got.code == "left"
    assert (first.closed_s, second.closed_s) == ([2.0], [2.0])
    assert got.usage is not None
    assert got.usage.provider == "first"
    assert got.spent == (estimate("second"),)


def test_a_bug_in_an_adapter_ends_the_race() -> None:
    first, second = Scripted("first", [[2.0, "bug"]]), Scripted("second", [HANGS])
    with pytest.raises(LookupError, match="bug"):
        run_virtually(answered(supervised(first, second)))
    assert (len(first.closed_s), len(second.closed_s)) == (1, 1)


# --- whatever they do ---

WAITS = st.sampled_from([0.0, 0.1, 0.9, 1.6, 2.4, 3.9, 4.1, FOREVER])
BEGINNING = st.lists(st.one_of(WAITS, st.just("usage")), max_size=3)
ENDING: list[Step] = [
    "end", "!overloaded", "!rate_limit", "!dropped", "!unavailable",
]  # fmt: skip
SCRIPT = st.builds(
    lambda before, words, end: [*before, *words, end],
    BEGINNING,
    st.lists(st.sampled_from(["a ", "b ", 0.3]), max_size=3),
    st.sampled_from(ENDING),
)
LLMS = st.lists(st.lists(SCRIPT, min_size=1, max_size=2), min_size=1, max_size=3)


def words_of(script: Sequence[Step]) -> list[str]:
    return [step for step in script if step in ("a ", "b ")]


@settings(max_examples=300, deadline=None)
@given(LLMS, st.one_of(st.just(FOREVER), st.floats(0.0, 8.0)))
def test_whatever_they_do(scripts: list[list[list[Step]]], leaves_s: float) -> None:
    names = count()
    llms = [Scripted(f"llm{next(names)}", each) for each in scripts]
    got = run_virtually(answered(supervised(*llms), leaves_s=leaves_s))
    asked = sorted(moment for llm in llms for moment in llm.asked_s)
    closed = sorted(moment for llm in llms for moment in llm.closed_s)
    assert len(asked) == len(closed), "whatever was asked is closed in the end"
    for place, moment in enumerate(asked[2:]):
        assert closed[place] <= moment, "never more than two at a time"
    assert got.ended or got.code, "it answers or says why not"
    said = [script for llm in scripts for script in llm if words_of(script)]
    if got.words:
        assert any(words_of(script)[: len(got.words)] == got.words for script in said)
    if got.first_s is not None:
        assert got.first_s <= FIRST_S + RECOVERY_S + 0.01
    assert all(usage.wasted and usage.estimated for usage in got.spent)
    answers = 1 if got.first_s is not None or got.code == "left" else 0
    assert len(got.spent) + answers <= len(asked)
    paid = {usage.provider for usage in got.spent}
    if got.usage is not None and answers:
        paid.add(got.usage.provider)
    assert paid <= {llm.name for llm in llms if llm.asked_s}


# --- at two vendors ---


def test_the_vendor_that_lost_is_left_and_what_it_said_of_the_cost_counts() -> None:
    async def call() -> None:
        async with FakeAnthropic() as first, FakeOpenAi([saying("From the other.")]) as second:
            first.faults.append(Fault("stall", after=1))
            choices = [
                LlmChoice(kept(AnthropicLlm(KEY, first.url))),
                LlmChoice(llm_at(second.url), model="other"),
            ]
            got = await answered(SupervisedLlm(choices, Deadlines(llm_hedge_ms=150)))
            assert (got.code, "".join(got.words)) == ("", "From the other.")
            await first.until(lambda: first.aborted == 1)
            assert (first.connections, second.connections) == (1, 1)
            (lost,) = got.spent
            assert (lost.provider, lost.amount_in) == ("anthropic", 100)
            assert lost.wasted
            assert (first.violations, second.violations) == ([], [])

    run(call())
