"""Claude over loopback, its reader and its request alone, and the vendor's SDK on the fake."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import anthropic
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
    LlmUsage,
)
from flowengine.providers.anthropic import AnthropicLlm, make_llm
from flowengine.providers.anthropic_messages import MAX_TOKENS, MessageReader, body
from flowengine.providers.settings import ProviderSettings
from flowengine.testing.providers.answers import Answer, event, saying
from flowengine.testing.providers.anthropic import FakeAnthropic, stream
from flowengine.testing.providers.serving import KEY, Fault
from tests.providers.running import events_of, kept, read_in_pieces, run, text_of, tools_of

pytestmark = pytest.mark.unit

MODEL = "claude-haiku-5-5"
LOOK = LlmTool("look", "Looks.", {"type": "object", "properties": {}})
ASKED = LlmRequest(
    MODEL,
    (
        LlmMessage("system", "Be kind."),
        LlmMessage("user", "Monday please"),
        LlmMessage("assistant", "One moment. ", (LlmToolUse("call.1", "look", ""),)),
        LlmMessage("tool", "free", tool_use_id="call.1"),
    ),
    (LOOK,),
)


def llm_at(url: str) -> AnthropicLlm:
    return kept(AnthropicLlm(KEY, url))


def read(wire: bytes, cuts: list[int] | None = None) -> list[LlmEvent]:
    return read_in_pieces(wire, cuts or [], MessageReader("anthropic", MODEL))


def wire_of(*events: Json) -> bytes:
    return b"".join(event(item, item["type"]) for item in events)


def opened(index: int, **block: Json) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, **delta: Json) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def closed(index: int) -> Json:
    return {"type": "content_block_stop", "index": index}


def ended(reason: str, **usage: Json) -> tuple[Json, Json]:
    delta = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}
    return delta, {"type": "message_stop"}


@given(
    pieces=st.lists(st.text(min_size=1), max_size=6),
    arguments=st.lists(st.dictionaries(st.text(max_size=8), st.booleans()), max_size=3),
    cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=30),
)
def test_any_split_reads_the_same(
    pieces: list[str], arguments: list[dict[str, bool]], cuts: list[int]
) -> None:
    tools = tuple(
        (f"tool_{nth}", orjson.dumps(given).decode()) for nth, given in enumerate(arguments)
    )
    wire = wire_of(*stream({"model": MODEL}, Answer(tuple(pieces), tools)))
    events = read(wire, cuts)
    assert text_of(events) == "".join(pieces)
    assert tools_of(events) == list(tools)
    assert isinstance(events[-1], LlmEnd)
    assert events[-1].usage is not None


def test_what_is_not_for_the_caller_is_not_spoken() -> None:
    wire = wire_of(
        opened(0, type="thinking", thinking=""),
        piece(0, type="thinking_delta", thinking="secret"),
        piece(0, type="signature_delta", signature="secret"),
        closed(0),
        opened(1, type="server_tool_use", id="s", name="web_search", input={}),
        piece(1, type="input_json_delta", partial_json='{"query"'),
        closed(1),
        opened(2, type="text", text=""),
        piece(2, type="text_delta", text="Hi."),
        piece(2, type="citations_delta", citation={}),
        closed(2),
        {"type": "something_new"},
        *ended("pause_turn"),
    )
    events = read(wire)
    assert text_of(events) == "Hi."
    assert tools_of(events) == []
    assert events[-1] == LlmEnd("pause_turn", None)


def test_a_ping_is_a_sign_of_life_once_the_model_is_at_work() -> None:
    reader = MessageReader("anthropic", MODEL)
    ping = orjson.dumps({"type": "ping"})
    assert reader.read(ping) == []
    reader.read(orjson.dumps(opened(0, type="tool_use", id="a", name="f")))
    assert reader.read(ping) == [LlmText("")]


def test_calls_side_by_side_without_arguments_and_cut() -> None:
    wire = wire_of(
        opened(0, type="tool_use", id="a", name="f", input={}),
        opened(1, type="tool_use", id="b", name="g", input={}),
        piece(1, type="input_json_delta", partial_json='{"day":"Mo'),
        piece(1, type="input_json_delta", partial_json='nday"}'),
        closed(1),
        closed(0),
        opened(2, type="tool_use", id="c", name="h", input={}),
        piece(2, type="input_json_delta", partial_json='{"day'),
        opened(3, type="tool_use", id="d", name="i", input={}),
        *ended("max_tokens"),
    )
    assert [event for event in read(wire) if isinstance(event, LlmToolUse)] == [
        LlmToolUse("b", "g", '{"day":"Monday"}'),
        LlmToolUse("a", "f", "{}"),
        LlmToolUse("c", "h", '{"day'),
        LlmToolUse("d", "i", "{"),
    ]


def test_usage_is_told_at_once_and_is_cumulative() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 70,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 50},
        "output_tokens": 1,
    }
    wire = wire_of(
        {"type": "message_start", "message": {"usage": usage}},
        *ended("end_turn", output_tokens=42, input_tokens=None),
    )
    events = read(wire)

    def used(out: int) -> Usage:
        return Usage("anthropic", MODEL, "tokens", 1080, out, 1000, 20, 50)

    assert events[0] == LlmUsage(used(1))
    assert events[-1] == LlmEnd("end_turn", used(42))


def test_a_later_count_stands_over_an_earlier_one() -> None:
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 50,
        "cache_creation": {"ephemeral_1h_input_tokens": 50},
    }
    wire = wire_of(
        {"type": "message_start", "message": {"usage": usage}},
        *ended("end_turn", input_tokens=90, cache_creation_input_tokens=0, output_tokens=3),
    )
    assert read(wire)[-1] == LlmEnd("end_turn", Usage("anthropic", MODEL, "tokens", 90, 3))


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (wire_of(piece(0, type="text_delta", text="x")), "protocol"),
        (wire_of(closed(0)), "protocol"),
        (wire_of({"type": "message_stop"}), "dropped"),
        (wire_of(opened(0, type="text", text="")), "dropped"),
        (b"data: {\n\n", "protocol"),
        (b"data: []\n\n", "protocol"),
        (b"", "dropped"),
        (wire_of({"type": "error", "error": {"type": "overloaded_error"}}), "overloaded"),
        (wire_of({"type": "error", "error": {"type": "api_error"}}), "unavailable"),
        (wire_of({"type": "error", "error": {"type": "rate_limit_error"}}), "rate_limit"),
    ],
)
def test_wrong_order_nonsense_and_errors_in_the_stream(wire: bytes, code: str) -> None:
    with pytest.raises(ProviderError) as caught:
        read(wire)
    assert caught.value.code == code


def test_the_request_is_marked_for_the_cache() -> None:
    asked = body(ASKED)
    mark = {"cache_control": {"type": "ephemeral"}}
    assert asked == {
        "max_tokens": MAX_TOKENS,
        "system": [{"type": "text", "text": "Be kind.", **mark}],
        "tools": [
            {"name": "look", "description": "Looks.", "input_schema": LOOK.parameters, **mark}
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Monday please"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "One moment."},
                    {"type": "tool_use", "id": "call_1", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_1",
                        "content": "free",
                        **mark,
                    }
                ],
            },
        ],
    }


def test_options_of_a_flow() -> None:
    hour: Json = {"type": "ephemeral", "ttl": "1h"}
    options: dict[str, Json] = {
        "temperature": 0.2,
        "top_p": 1,
        "top_k": 5,
        "max_tokens": 50,
        "cache_control": hour,
        "output_config": {"effort": "low"},
    }
    asked = body(LlmRequest(MODEL, ASKED.messages, options=options))
    assert asked["system"][-1]["cache_control"] == hour
    assert asked["output_config"] == {"effort": "low"}
    assert asked["max_tokens"] == 50
    assert not {"temperature", "top_p", "top_k", "cache_control", "tools"} & asked.keys()
    unmarked = body(LlmRequest(MODEL, ASKED.messages, options={"cache_control": None}))
    assert b"cache_control" not in orjson.dumps(unmarked)


def test_an_instruction_in_the_middle_keeps_its_place() -> None:
    said = (LlmMessage("user", "Hi"), LlmMessage("system", "Be brief."), LlmMessage("user", "So?"))
    roles = [message["role"] for message in body(LlmRequest(MODEL, said))["messages"]]
    assert roles == ["user", "system", "user"]


def test_an_answer_over_the_wire() -> None:
    async def call() -> None:
        answer = Answer(("Sure.",), (("look", "{}"),), tokens_cached=60, tokens_written=30)
        async with FakeAnthropic([answer]) as vendor:
            events = await events_of(llm_at(vendor.url), ASKED)
            assert text_of(events) == "Sure."
            assert tools_of(events) == [("look", "{}")]
            assert isinstance(events[0], LlmUsage)
            assert (events[0].usage.amount_in, events[0].usage.amount_out) == (100, 1)
            end = events[-1]
            assert isinstance(end, LlmEnd)
            assert end.reason == "tool_use"
            assert end.usage is not None
            assert (end.usage.cached_in, end.usage.cache_write_in) == (60, 30)
            sent = vendor.requests[0]
            assert (sent["model"], sent["stream"]) == (MODEL, True)
            assert "thinking" not in sent
            assert vendor.violations == []

    run(call())


def test_the_next_turn_begins_as_the_one_before() -> None:
    """What one turn wrote to the cache, the next one finds: the same bytes up to the mark."""

    def unmarked(asked: dict[str, Any]) -> list[Any]:
        bare = orjson.loads(orjson.dumps(asked))
        for message in bare["messages"]:
            for block in message["content"]:
                block.pop("cache_control", None)
        return [bare["tools"], bare["system"], *bare["messages"]]

    said = (LlmMessage("assistant", "It is free."), LlmMessage("user", "Good."))
    first = unmarked(body(ASKED))
    then = unmarked(body(LlmRequest(MODEL, ASKED.messages + said, ASKED.tools)))
    assert then[: len(first)] == first


def test_a_model_that_can_be_silent_is_told_so_once_it_is_known() -> None:
    async def call() -> None:
        models = {MODEL: True, "claude-always": False}
        async with FakeAnthropic(models=models) as vendor:
            llm = llm_at(vendor.url)
            await llm.warm()
            own = {"thinking": {"type": "adaptive"}}
            for request in (
                LlmRequest(MODEL, ASKED.messages),
                LlmRequest(MODEL, ASKED.messages, options=own),
                LlmRequest("claude-always", ASKED.messages),
            ):
                await events_of(llm, request)
            told = [sent.get("thinking") for sent in vendor.requests]
            assert told == [{"type": "disabled"}, own["thinking"], None]
            assert len(vendor.peers) == 1

    run(call())


@pytest.mark.parametrize("page", [b"", b"{}", b'{"data":[{"id":"m"}]}', b'{"data":[1]}', b"[]"])
def test_a_host_that_lists_its_models_in_another_form_is_warm_too(page: bytes) -> None:
    async def call() -> None:
        async with FakeAnthropic(page=page) as vendor:
            llm = llm_at(vendor.url)
            await llm.warm()
            assert text_of(await events_of(llm)) == "Yes."

    run(call())


def test_warming_is_quiet() -> None:
    async def call() -> None:
        async with FakeAnthropic() as vendor:
            llm = kept(AnthropicLlm("wrong", vendor.url))
            await llm.warm()
        await llm.warm()

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("refuse", status=400), "bad_request"),
        (Fault("refuse", status=401), "auth"),
        (Fault("refuse", status=402), "quota"),
        (Fault("refuse", status=429), "rate_limit"),
        (Fault("refuse", status=500), "unavailable"),
        (Fault("refuse", status=529), "overloaded"),
        (Fault("cut"), "connect"),
        (Fault("cut", after=4), "dropped"),
        (Fault("garbage", after=4), "protocol"),
        (Fault("error", after=4), "overloaded"),
    ],
)
def test_a_failing_host(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeAnthropic([saying("One two three.")]) as vendor:
            vendor.faults.append(fault)
            with pytest.raises(ProviderError) as caught:
                await events_of(llm_at(vendor.url))
            assert (caught.value.code, caught.value.where) == (code, "anthropic")
            assert vendor.connections == 1

    run(call())


def test_a_wrong_key_and_nobody_listening() -> None:
    async def call() -> None:
        async with FakeAnthropic() as vendor:
            url = vendor.url
            with pytest.raises(ProviderError) as caught:
                await events_of(kept(AnthropicLlm("wrong", url)))
            assert caught.value.code == "auth"
        with pytest.raises(ProviderError) as caught:
            await events_of(llm_at(url))
        assert caught.value.code == "connect"

    run(call())


def test_closing_the_generator_aborts_and_leaves_the_usage_known() -> None:
    async def call() -> None:
        async with FakeAnthropic([saying("one two three")]) as vendor:
            vendor.faults.append(Fault("stall", after=4))
            async with aclosing(llm_at(vendor.url).stream(ASKED)) as events:
                told = [await anext(events) for _ in range(3)]
            assert isinstance(told[0], LlmUsage)
            assert text_of(told) == "one"
            await vendor.until(lambda: vendor.aborted == 1)

    run(call())


def test_it_is_made_from_settings() -> None:
    llm = make_llm(ProviderSettings({"ANTHROPIC_API_KEY": "k"}))
    assert llm.name == "anthropic"


def test_the_sdk_understands_the_fake() -> None:
    async def call() -> None:
        answer = Answer(("Hel", "lo"), (("f", '{"a":"b c d"}'), ("g", "{}")), tokens_cached=40)
        async with FakeAnthropic([answer]) as vendor:
            client = anthropic.AsyncAnthropic(api_key=KEY, base_url=vendor.url, max_retries=0)
            manager = client.messages.stream(
                model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "x"}]
            )
            async with client, manager as told:
                final = await told.get_final_message()
            assert [block.type for block in final.content] == ["text", "tool_use", "tool_use"]
            inputs = [block.input for block in final.content if block.type == "tool_use"]
            assert inputs == [{"a": "b c d"}, {}]
            assert final.usage.cache_read_input_tokens == 40
            assert final.stop_reason == "tool_use"
            assert vendor.violations == []

    run(call())
