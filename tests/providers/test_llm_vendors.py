"""Every LLM vendor under supervision: one conversation, one schema of tools, the same faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from flowengine.errors import ProviderError
from flowengine.ports import Llm, LlmMessage, LlmRequest, LlmTool, LlmToolUse
from flowengine.providers import anthropic, google, groq, llama, mistral, openai
from flowengine.providers.deadlines import Deadlines
from flowengine.providers.registry import Closes
from flowengine.providers.settings import ProviderSettings
from flowengine.providers.supervision import LlmChoice, SupervisedLlm
from flowengine.testing.providers.answers import Answer, FakeLlm, saying
from flowengine.testing.providers.anthropic import FakeAnthropic
from flowengine.testing.providers.google import FakeGoogle
from flowengine.testing.providers.openai import GROQ, LLAMA, MISTRAL, FakeOpenAi
from flowengine.testing.providers.serving import KEY, Fault
from tests.providers.running import events_of, kept, run, text_of, tools_of

pytestmark = pytest.mark.unit

SHORT = Deadlines(llm_first_token_ms=400, llm_between_tokens_ms=400, recovery_ms=1500)
BOOK = LlmTool(
    "book",
    "Books a day.",
    {
        "type": "object",
        "properties": {"day": {"type": "string", "enum": ["Monday", "Friday"]}},
        "required": ["day"],
        "additionalProperties": False,
    },
)
HANG_UP = LlmTool("hang_up", "Ends the call.", {"type": "object", "properties": {}})
CALLS = (("book", '{"day":"Monday"}'), ("hang_up", "{}"))


@dataclass(frozen=True)
class Vendor:
    fake: Callable[[], FakeLlm]
    make: Callable[[ProviderSettings], Llm]
    setting: str

    def llm_at(self, url: str) -> Llm:
        values = {f"{self.setting}_BASE_URL": url, f"{self.setting}_API_KEY": KEY}
        if self.setting == "LLAMA":
            del values["LLAMA_API_KEY"]
        made = self.make(ProviderSettings(values))
        assert isinstance(made, Closes)
        kept(made)
        return made


VENDORS = {
    "anthropic": Vendor(FakeAnthropic, anthropic.make_llm, "ANTHROPIC"),
    "google": Vendor(FakeGoogle, google.make_llm, "GEMINI"),
    "groq": Vendor(lambda: FakeOpenAi(habits=GROQ), groq.make_llm, "GROQ"),
    "llama": Vendor(lambda: FakeOpenAi(habits=LLAMA), llama.make_llm, "LLAMA"),
    "mistral": Vendor(lambda: FakeOpenAi(habits=MISTRAL), mistral.make_llm, "MISTRAL"),
    "openai": Vendor(FakeOpenAi, openai.make_llm, "OPENAI"),
}
each = pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS.keys())


def next_request(asked: LlmRequest, uses: list[LlmToolUse]) -> LlmRequest:
    """The request after tool calls, each followed by its result, as the engine writes it."""
    said = list(asked.messages)
    for use in uses:
        said += [
            LlmMessage("assistant", "", (use,)),
            LlmMessage("tool", "done", tool_use_id=use.id),
        ]
    return LlmRequest("some-model", (*said, LlmMessage("user", "And?")), asked.tools)


@each
def test_a_conversation_that_began_elsewhere_goes_on_with_tools(vendor: Vendor) -> None:
    """It begins with our words and holds calls of other vendors, one with broken arguments."""

    async def call() -> None:
        begun = LlmRequest(
            "some-model",
            (
                LlmMessage("system", "Be kind."),
                LlmMessage("assistant", "Hello, this is the bakery."),
                LlmMessage("user", "Monday please"),
            ),
            (BOOK, HANG_UP),
        )
        foreign = [
            LlmToolUse("toolu_01", "book", '{"day":"Friday"}'),
            LlmToolUse("call:of/another", "book", '{"day"'),
        ]
        async with vendor.fake() as fake:
            fake.plan += [Answer(("One moment.",), CALLS), saying("It is done."), saying("Yes.")]
            llm = SupervisedLlm([LlmChoice(vendor.llm_at(fake.url))])
            first = next_request(begun, foreign)
            events = await events_of(llm, first)
            assert text_of(events) == "One moment."
            assert tools_of(events) == list(CALLS)
            uses = [event for event in events if isinstance(event, LlmToolUse)]
            assert len({use.id for use in uses}) == 2
            events = await events_of(llm, next_request(first, uses))
            assert text_of(events) == "It is done."
            said = LlmMessage("assistant", "It is done.")
            await events_of(llm, LlmRequest("some-model", (*first.messages, said), first.tools))
            assert fake.violations == []
            assert llm.counts == {}

    run(call())


@each
@pytest.mark.parametrize(
    "fault",
    [
        Fault("hang"),
        Fault("stall"),
        Fault("cut"),
        Fault("garbage"),
        Fault("error"),
        Fault("refuse", status=500),
        Fault("refuse", status=529),
    ],
    ids=lambda fault: f"{fault.kind}{fault.status if fault.kind == 'refuse' else ''}",
)
def test_a_fault_before_the_first_word_is_not_noticed(vendor: Vendor, fault: Fault) -> None:
    async def call() -> None:
        async with vendor.fake() as fake:
            fake.faults.append(fault)
            fake.plan += [saying("Good day."), saying("Good day.")]
            llm = SupervisedLlm([LlmChoice(vendor.llm_at(fake.url))], SHORT)
            assert text_of(await events_of(llm)) == "Good day."
            assert fake.connections == 2
            assert llm.counts[f"{llm.name}.recovered"] == 1

    run(call())


@each
@pytest.mark.parametrize(
    ("fault", "code"), [(Fault("stall", after=6), "stalled"), (Fault("cut", after=6), "dropped")]
)
def test_a_fault_in_the_middle_is_told(vendor: Vendor, fault: Fault, code: str) -> None:
    async def call() -> None:
        async with vendor.fake() as fake:
            fake.faults.append(fault)
            fake.plan.append(saying("One two three four five six seven."))
            llm = SupervisedLlm([LlmChoice(vendor.llm_at(fake.url))], SHORT)
            with pytest.raises(ProviderError) as caught:
                await events_of(llm)
            assert (caught.value.code, caught.value.where) == (code, llm.name)

    run(call())


@each
def test_a_limit_goes_to_the_fallback_without_waiting_for_it(vendor: Vendor) -> None:
    async def call() -> None:
        async with vendor.fake() as fake, FakeOpenAi([saying("From the other.")]) as other:
            fake.faults.append(Fault("refuse", status=429))
            choices = [
                LlmChoice(vendor.llm_at(fake.url)),
                LlmChoice(VENDORS["openai"].llm_at(other.url), "other-model"),
            ]
            llm = SupervisedLlm(choices, SHORT)
            assert text_of(await events_of(llm)) == "From the other."
            assert fake.connections == 1
            assert llm.counts[f"{llm.name}.rate_limit"] == 1

    run(call())


@each
def test_answers_that_were_read_to_their_end_share_a_connection(vendor: Vendor) -> None:
    async def call() -> None:
        async with vendor.fake() as fake:
            llm = vendor.llm_at(fake.url)
            for _ in range(3):
                assert text_of(await events_of(llm)) == "Yes."
            assert (len(fake.requests), len(fake.peers)) == (3, 1)

    run(call())
