"""The OpenAI-compatible adapter over loopback, and its reader alone."""

from __future__ import annotations

from contextlib import aclosing

import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowengine.errors import ProviderError
from flowengine.events import Json, Usage
from flowengine.ports import (
    LlmEnd,
    LlmEvent,
    LlmMessage,
    LlmRequest,
    LlmText,
    LlmTool,
    LlmToolUse,
)
from flowengine.providers.chat import ChatReader
from flowengine.providers.chat_hosts import chat_body
from flowengine.providers.openai import OPENAI
from flowengine.testing.providers.openai import Answer, FakeOpenAi, chunks, saying
from flowengine.testing.providers.serving import KEY, Fault
from tests.providers.running import LLM, events_of, llm_at, read_in_pieces, run, text_of, tools_of

pytestmark = pytest.mark.unit


def read_all(body: bytes, cuts: list[int]) -> list[LlmEvent]:
    return read_in_pieces(body, cuts, ChatReader("openai", "gpt-test"))


def body_of(*messages: Json, done: bool = True, end: bytes = b"\n\n") -> bytes:
    lines = [b"data: " + orjson.dumps(message) + end for message in messages]
    return b"".join(lines) + (b"data: [DONE]" + end if done else b"")


def delta(**fields: Json) -> Json:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


@given(
    pieces=st.lists(st.text(min_size=1), max_size=6),
    arguments=st.lists(st.text(max_size=40), max_size=3),
    cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=30),
    end=st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]),
)
def test_any_split_reads_the_same(
    pieces: list[str], arguments: list[str], cuts: list[int], end: bytes
) -> None:
    tools = tuple(
        (f"tool_{nth}", orjson.dumps(text).decode()) for nth, text in enumerate(arguments)
    )
    request = {"model": "gpt-test", "stream_options": {"include_usage": True}}
    body = body_of(*chunks(request, Answer(tuple(pieces), tools)), end=end)
    events = read_all(body, cuts)
    assert text_of(events) == "".join(pieces)
    assert tools_of(events) == list(tools)
    assert isinstance(events[-1], LlmEnd)
    assert events[-1].usage is not None


def test_habits_of_compatible_hosts() -> None:
    body = b": OPENROUTER PROCESSING\n\n" + body_of(
        delta(role="assistant", content=None),
        delta(reasoning="secret", reasoning_content="secret", reasoning_details=[{"text": "x"}]),
        delta(content=[{"type": "text", "text": "Hi"}, {"type": "thinking", "thinking": "no"}]),
        delta(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}}]),
        delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g", "arguments": None}}]),
        {
            "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}],
            "x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 6}},
        },
        done=False,
    )
    events = read_all(body, [])
    assert text_of(events) == "Hi"
    assert events[:2] == [LlmText(""), LlmText("Hi")], "reasoning is a sign of life"
    assert [event for event in events if isinstance(event, LlmToolUse)] == [
        LlmToolUse("a", "f", '{"x":1}'),
        LlmToolUse("b", "g", "{}"),
    ]
    assert events[-1] == LlmEnd("tool_calls", Usage("openai", "gpt-test", "tokens", 5, 6, 0))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "m", "type": "server_error", "code": None}, "unavailable"),
        ({"message": "m", "code": 429}, "rate_limit"),
        ({"message": "m", "code": "rate_limit_exceeded"}, "rate_limit"),
        ({"message": "m", "code": "insufficient_quota"}, "quota"),
        ("over", "unavailable"),
    ],
)
def test_an_error_object_in_the_stream(error: Json, code: str) -> None:
    with pytest.raises(ProviderError) as caught:
        read_all(body_of(delta(content="Hi"), {"error": error}, done=False), [])
    assert caught.value.code == code


@pytest.mark.parametrize(
    "body", [b"data: {\n\n", b"data: []\n\n", b'data: {"choices":[1]}\n\n', b""]
)
def test_nonsense_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        read_all(body, [])
    assert caught.value.code == "protocol"


def test_calls_with_the_same_index_are_told_apart_by_their_ids() -> None:
    def call(use_id: str, name: str, arguments: str) -> Json:
        function = {"name": name, "arguments": arguments}
        return delta(tool_calls=[{"index": 0, "id": use_id, "function": function}])

    events = read_all(
        body_of(call("a", "f", '{"x":1}'), call("b", "g", ""), call("b", "", "{}")), []
    )
    assert [event for event in events if isinstance(event, LlmToolUse)] == [
        LlmToolUse("a", "f", '{"x":1}'),
        LlmToolUse("b", "g", "{}"),
    ]


def test_a_call_without_an_id_gets_one_that_no_other_has() -> None:
    body = body_of(delta(tool_calls=[{"function": {"name": "f"}}]))
    ids = {
        event.id for _ in range(2) for event in read_all(body, []) if isinstance(event, LlmToolUse)
    }
    assert len(ids) == 2


def test_a_call_cut_before_its_arguments_does_not_look_complete() -> None:
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    body = body_of(delta(tool_calls=[{"id": "a", "function": {"name": "f"}}]), end)
    assert tools_of(read_all(body, [])) == [("f", "{")]


def test_tokens_of_the_cache_are_counted() -> None:
    async def call() -> None:
        answer = Answer(("Hi",), tokens_in=2000, tokens_cached=1500, tokens_written=300)
        async with FakeOpenAi([answer]) as vendor:
            end = (await answer_of(vendor))[-1]
            assert isinstance(end, LlmEnd)
            assert end.usage is not None
            assert (end.usage.amount_in, end.usage.cached_in) == (2000, 1500)
            assert end.usage.cache_write_in == 300

    run(call())


@pytest.mark.parametrize(
    ("model", "effort"),
    [
        ("gpt-6-luna", "none"),
        ("gpt-5.6-luna", "none"),
        ("gpt-5-mini", "minimal"),
        ("gpt-4.1-mini", None),
        ("gpt-5-chat-latest", None),
        ("gpt-6-pro", None),
        ("llama-4", None),
    ],
)
def test_a_reasoning_model_is_told_not_to_keep_the_caller_waiting(
    model: str, effort: str | None
) -> None:
    async def call() -> None:
        async with FakeOpenAi() as vendor:
            await answer_of(vendor, LlmRequest(model, LLM.messages))
            await answer_of(
                vendor, LlmRequest(model, LLM.messages, options={"reasoning_effort": "low"})
            )
            assert vendor.requests[0].get("reasoning_effort") == effort
            assert vendor.requests[1]["reasoning_effort"] == "low"

    run(call())


def test_padding_is_refused_where_it_is_known() -> None:
    for url, options in (
        (OPENAI.url, {"include_usage": True, "include_obfuscation": False}),
        ("http://127.0.0.1:1/v1", {"include_usage": True}),
    ):
        assert chat_body(OPENAI, LLM, url)["stream_options"] == options


async def answer_of(vendor: FakeOpenAi, request: LlmRequest = LLM) -> list[LlmEvent]:
    return await events_of(llm_at(vendor.url), request)


def test_an_answer_over_the_wire() -> None:
    async def call() -> None:
        async with FakeOpenAi(
            [Answer(("Sure, ", "one moment."), (("book", '{"day":"Monday"}'),))]
        ) as vendor:
            request = LlmRequest(
                "gpt-test",
                (
                    LlmMessage("system", "Be kind."),
                    LlmMessage("user", "Monday please"),
                    LlmMessage("assistant", "", (LlmToolUse("c1", "look", "{}"),)),
                    LlmMessage("tool", "free", tool_use_id="c1"),
                ),
                (LlmTool("book", "Books a day.", {"type": "object", "properties": {}}),),
                {"temperature": 0.2, "reasoning_effort": "none"},
            )
            events = await answer_of(vendor, request)
            assert text_of(events) == "Sure, one moment."
            assert tools_of(events) == [("book", '{"day":"Monday"}')]
            assert events[-1] == LlmEnd(
                "tool_calls", Usage("openai", "gpt-test", "tokens", 100, 6, 0)
            )
            sent = vendor.requests[0]
            assert sent["temperature"] == 0.2
            assert sent["reasoning_effort"] == "none"
            assert sent["stream_options"] == {"include_usage": True}
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("refuse", status=401), "auth"),
        (Fault("refuse", status=429), "rate_limit"),
        (Fault("refuse", status=400), "bad_request"),
        (Fault("refuse", status=500), "unavailable"),
        (Fault("refuse", status=503), "overloaded"),
        (Fault("cut", after=2), "dropped"),
        (Fault("garbage", after=2), "protocol"),
        (Fault("error", after=2), "unavailable"),
    ],
)
def test_a_failing_host(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeOpenAi([saying("One two three.")]) as vendor:
            vendor.faults.append(fault)
            with pytest.raises(ProviderError) as caught:
                await answer_of(vendor)
            assert caught.value.code == code
            assert caught.value.where == "openai"
            assert vendor.connections == 1

    run(call())


def test_nobody_listens() -> None:
    async def call() -> None:
        async with FakeOpenAi() as vendor:
            url = vendor.url
        with pytest.raises(ProviderError) as caught:
            async for _ in llm_at(url).stream(LLM):
                pass
        assert caught.value.code == "connect"

    run(call())


def test_closing_the_generator_aborts_the_request() -> None:
    async def call() -> None:
        async with FakeOpenAi([saying("one two three")]) as vendor:
            vendor.faults.append(Fault("stall", after=2))
            llm = llm_at(vendor.url)
            async with aclosing(llm.stream(LLM)) as events:
                assert await anext(events) == LlmText("one")
            await vendor.until(lambda: vendor.aborted == 1)
            await llm.aclose()

    run(call())


def test_warming_is_quiet_and_shares_the_connection() -> None:
    async def call() -> None:
        async with FakeOpenAi([saying("Yes."), saying("No.")]) as vendor:
            llm = llm_at(vendor.url)
            await llm.warm()
            for word in ("Yes.", "No."):
                assert text_of([event async for event in llm.stream(LLM)]) == word
            await llm.aclose()
        await llm.warm()
        await llm.aclose()

    run(call())


def test_the_sdk_understands_the_fake() -> None:
    async def call() -> None:
        async with FakeOpenAi(
            [Answer(("Hel", "lo"), (("f", '{"a": "b c d"}'), ("g", "{}")))]
        ) as vendor:
            client = openai.AsyncOpenAI(api_key=KEY, base_url=vendor.url, max_retries=0)
            manager = client.chat.completions.stream(
                model="gpt-test",
                messages=[{"role": "user", "content": "x"}],
                stream_options={"include_usage": True},
            )
            async with manager as stream:
                final = await stream.get_final_completion()
            message = final.choices[0].message
            assert message.content == "Hello"
            assert [call.function.arguments for call in message.tool_calls or ()] == [
                '{"a": "b c d"}',
                "{}",
            ]
            assert final.usage is not None
            assert vendor.violations == []
            await client.close()

    run(call())


def test_answers_that_were_read_to_their_end_share_a_connection() -> None:
    async def call() -> None:
        async with FakeOpenAi() as vendor:
            llm = llm_at(vendor.url)
            for _ in range(3):
                async with aclosing(llm.stream(LLM)) as events:
                    assert text_of([event async for event in events]) == "Yes."
            await llm.aclose()
            assert len(vendor.requests) == 3
            assert len(vendor.peers) == 1

    run(call())


def test_a_body_that_ends_before_its_answer_does_is_told() -> None:
    async def call() -> None:
        async with FakeOpenAi([saying("one two three")]) as vendor:
            vendor.faults.append(Fault("close", after=2))
            with pytest.raises(ProviderError) as caught:
                await events_of(llm_at(vendor.url))
            assert caught.value.code == "dropped"

    run(call())
