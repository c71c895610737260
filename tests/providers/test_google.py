"""Gemini over loopback, its reader and its request alone, and the vendor's SDK beside ours."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import Any

import httpx2
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
from flowengine.providers.google import make_llm
from flowengine.providers.google_content import NO_SIGNATURE, ContentReader, body
from flowengine.providers.google_llm import GoogleLlm
from flowengine.providers.settings import ProviderSettings
from flowengine.testing.providers.answers import Answer, event, saying
from flowengine.testing.providers.google import FakeGoogle, chunks
from flowengine.testing.providers.serving import KEY, Fault
from tests.providers.running import events_of, kept, read_in_pieces, run, text_of, tools_of

pytestmark = pytest.mark.unit

MODEL = "gemini-3.8-flash"
SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {"day": {"type": "string"}},
    "required": ["day"],
    "additionalProperties": False,
}
LOOK = LlmTool("look", "Looks.", SCHEMA)
ASKED = LlmRequest(
    MODEL, (LlmMessage("system", "Be kind."), LlmMessage("user", "Monday please")), (LOOK,)
)


def llm_at(url: str) -> GoogleLlm:
    return kept(GoogleLlm(KEY, url))


def read(wire: bytes, cuts: list[int] | None = None) -> list[LlmEvent]:
    return read_in_pieces(wire, cuts or [], ContentReader("google", MODEL, {}))


def chunk(*parts: Json, reason: str = "", **rest: Json) -> bytes:
    candidate: dict[str, Json] = {"content": {"parts": list(parts), "role": "model"}}
    if reason:
        candidate["finishReason"] = reason
    return event({"candidates": [candidate], **rest}, end="\r\n\r\n")


@given(
    pieces=st.lists(st.text(min_size=1), max_size=6),
    arguments=st.lists(st.dictionaries(st.text(max_size=8), st.booleans()), max_size=3),
    cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=30),
)
def test_any_split_reads_the_same(
    pieces: list[str], arguments: list[dict[str, bool]], cuts: list[int]
) -> None:
    tools = tuple((f"t{nth}", orjson.dumps(item).decode()) for nth, item in enumerate(arguments))
    made = chunks(MODEL, Answer(tuple(pieces), tools), "s")
    events = read(b"".join(event(item, end="\r\n\r\n") for item in made), cuts)
    assert text_of(events) == "".join(pieces)
    assert tools_of(events) == list(tools)
    assert isinstance(events[-1], LlmEnd)
    assert events[-1].usage is not None


def test_thoughts_are_paid_for_and_not_spoken() -> None:
    usage: Json = {"promptTokenCount": 50, "cachedContentTokenCount": 20}
    last: Json = {**usage, "candidatesTokenCount": 3, "thoughtsTokenCount": 9}
    events = read(
        chunk({"text": "secret", "thought": True}, usageMetadata=usage)
        + chunk({"text": "Hi."}, {"executableCode": {"code": "x"}})
        + chunk({"text": "", "thoughtSignature": "s"}, reason="STOP", usageMetadata=last)
    )
    assert events[0] == LlmUsage(Usage("google", MODEL, "tokens", 50, 0, 20))
    assert text_of(events) == "Hi."
    assert events[-1] == LlmEnd("STOP", Usage("google", MODEL, "tokens", 50, 12, 20))


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (event({"promptFeedback": {"blockReason": "SAFETY"}}), "SAFETY"),
        (chunk(reason="PROHIBITED_CONTENT"), "PROHIBITED_CONTENT"),
        (event({"candidates": [{"finishReason": "MAX_TOKENS"}]}), "MAX_TOKENS"),
        (chunk({"text": "Well"}) + chunk(reason="MALFORMED_FUNCTION_CALL"), None),
    ],
)
def test_an_answer_that_was_held_back_says_why(wire: bytes, reason: str | None) -> None:
    assert read(wire)[-1] == LlmEnd(reason or "MALFORMED_FUNCTION_CALL", None)


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"", "dropped"),
        (chunk({"text": "Hi"}), "dropped"),
        (chunk(reason="MALFORMED_FUNCTION_CALL"), "protocol"),
        (b"data: {\n\n", "protocol"),
        (b"data: []\n\n", "protocol"),
        (chunk({"functionCall": {}}), "protocol"),
        (event({"error": {"code": 503, "status": "UNAVAILABLE"}}), "overloaded"),
        (event({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}), "rate_limit"),
        (event({"error": "no"}), "unavailable"),
    ],
)
def test_wrong_order_nonsense_and_errors_in_the_stream(wire: bytes, code: str) -> None:
    with pytest.raises(ProviderError) as caught:
        read(wire)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("model", "options", "config"),
    [
        (MODEL, {}, {"thinkingConfig": {"thinkingLevel": "LOW"}}),
        ("gemini-2.5-flash", {}, {"thinkingConfig": {"thinkingBudget": 0}}),
        ("gemini-2.5-pro", {}, {}),
        ("gemini-2.5-pro", {"temperature": 0.2}, {"temperature": 0.2}),
        (
            MODEL,
            {"thinkingConfig": {"thinkingLevel": "HIGH"}, "generationConfig": {"seed": 1}},
            {"thinkingConfig": {"thinkingLevel": "HIGH"}, "seed": 1},
        ),
    ],
)
def test_options_of_a_flow(model: str, options: dict[str, Json], config: Json) -> None:
    asked = body(LlmRequest(model, ASKED.messages, options={**options, "safetySettings": []}), {})
    assert asked["generationConfig"] == config
    assert asked["safetySettings"] == []


def test_an_instruction_in_the_middle_joins_the_others() -> None:
    said = (*ASKED.messages, LlmMessage("system", "Be brief."), LlmMessage("user", "So?"))
    asked = body(LlmRequest(MODEL, said), {})
    assert asked["systemInstruction"] == {"parts": [{"text": "Be kind.\n\nBe brief."}]}
    assert asked["contents"] == [
        {"role": "user", "parts": [{"text": "Monday please"}, {"text": "So?"}]}
    ]


def answered(*uses: LlmToolUse) -> LlmRequest:
    """The next request, each call followed by its result, as the engine writes it."""
    said: list[LlmMessage] = list(ASKED.messages)
    for use in uses:
        said += [LlmMessage("assistant", "", (use,)), LlmMessage("tool", "1", tool_use_id=use.id)]
    return LlmRequest(MODEL, tuple(said), ASKED.tools)


def test_signatures_come_back_with_the_calls_they_came_with() -> None:
    async def call() -> None:
        both = Answer((), (("look", '{"day":"Monday"}'), ("look", '{"day":"Friday"}')))
        one = Answer(("And ",), (("look", "{}"),))
        async with FakeGoogle([both, one]) as vendor:
            llm = llm_at(vendor.url)
            uses = [item for item in await events_of(llm, ASKED) if isinstance(item, LlmToolUse)]
            uses += [
                item
                for item in await events_of(llm, answered(*uses))
                if isinstance(item, LlmToolUse)
            ]
            await events_of(llm, answered(*uses))
            contents = vendor.requests[2]["contents"]
            assert [content["role"] for content in contents] == ["user", "model", "user"] + [
                "model",
                "user",
            ]
            signed = [part.get("thoughtSignature") for part in contents[1]["parts"]]
            assert signed == [vendor.signatures[0], None]
            assert contents[3]["parts"][0]["thoughtSignature"] == vendor.signatures[1]
            responses = [part["functionResponse"]["response"] for part in contents[2]["parts"]]
            assert responses == [{"result": 1}, {"result": 1}]
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize(("model", "given"), [(MODEL, NO_SIGNATURE), ("gemini-2.5-flash", None)])
def test_a_call_of_another_model_has_no_signature(model: str, given: str | None) -> None:
    request = answered(LlmToolUse("toolu_1", "look", '{"day"'))
    asked = body(LlmRequest(model, request.messages), {})
    part = asked["contents"][1]["parts"][0]
    assert part.get("thoughtSignature") == given
    assert part["functionCall"]["args"] == {"unreadable": '{"day"'}


def test_an_answer_over_the_wire() -> None:
    async def call() -> None:
        answer = Answer(("Sure.",), (("look", '{"day":"Monday"}'),), tokens_cached=60)
        async with FakeGoogle([answer, saying("Yes.")]) as vendor:
            llm = llm_at(vendor.url)
            await llm.warm()
            events = await events_of(llm, ASKED)
            assert text_of(events) == "Sure."
            assert tools_of(events) == [("look", '{"day":"Monday"}')]
            assert events[-1] == LlmEnd("STOP", Usage("google", MODEL, "tokens", 100, 9, 60))
            assert vendor.models == [MODEL]
            declared = vendor.requests[0]["tools"][0]["functionDeclarations"][0]
            assert declared["parametersJsonSchema"] == SCHEMA
            await events_of(kept(GoogleLlm(KEY, f"{vendor.url}/v1beta")), ASKED)
            assert vendor.violations == []

    run(call())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("refuse", status=400), "bad_request"),
        (Fault("refuse", status=401), "auth"),
        (Fault("refuse", status=403), "auth"),
        (Fault("refuse", status=429), "rate_limit"),
        (Fault("refuse", status=500), "unavailable"),
        (Fault("refuse", status=503), "overloaded"),
        (Fault("cut"), "connect"),
        (Fault("cut", after=2), "dropped"),
        (Fault("garbage", after=2), "protocol"),
        (Fault("error", after=2), "overloaded"),
    ],
)
def test_a_failing_host(fault: Fault, code: str) -> None:
    async def call() -> None:
        async with FakeGoogle([saying("One two three.")]) as vendor:
            vendor.faults.append(fault)
            with pytest.raises(ProviderError) as caught:
                await events_of(llm_at(vendor.url), ASKED)
            assert (caught.value.code, caught.value.where) == (code, "google")
            assert vendor.connections == 1

    run(call())


def test_nobody_listens() -> None:
    async def call() -> None:
        async with FakeGoogle() as vendor:
            url = vendor.url
        llm = llm_at(url)
        await llm.warm()
        with pytest.raises(ProviderError) as caught:
            await events_of(llm, ASKED)
        assert caught.value.code == "connect"

    run(call())


def test_closing_the_generator_aborts_the_request() -> None:
    async def call() -> None:
        async with FakeGoogle([saying("one two three")]) as vendor:
            vendor.faults.append(Fault("stall", after=1))
            async with aclosing(llm_at(vendor.url).stream(ASKED)) as events:
                assert isinstance(await anext(events), LlmUsage)
                assert await anext(events) == LlmText("one")
            await vendor.until(lambda: vendor.aborted == 1)

    run(call())


def test_it_is_made_from_settings() -> None:
    assert make_llm(ProviderSettings({"GEMINI_API_KEY": "k"})).name == "google"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_sdk_understands_the_fake_and_asks_as_we_do() -> None:
    genai = pytest.importorskip("google.genai", reason="the extra `google` is not installed")
    types = genai.types

    async def call() -> None:
        answer = Answer(("Hel", "lo"), (("look", '{"day":"Monday"}'),), tokens_cached=40)
        async with FakeGoogle([answer, answer]) as vendor:
            pool = httpx2.AsyncClient()
            options = types.HttpOptions(base_url=vendor.url, httpx_async_client=pool)
            client = genai.Client(api_key=KEY, http_options=options)
            declared = types.FunctionDeclaration(
                name="look", description="Looks.", parameters_json_schema=SCHEMA
            )
            config = types.GenerateContentConfig(
                system_instruction="Be kind.",
                tools=[types.Tool(function_declarations=[declared])],
                thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW),
                automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            )
            async with pool:
                told: list[Any] = [
                    part
                    async for part in await client.aio.models.generate_content_stream(
                        model=MODEL, contents="Monday please", config=config
                    )
                ]
            parts = [part for item in told for part in item.candidates[0].content.parts]
            assert "".join(part.text or "" for part in parts) == "Hello"
            assert parts[-1].function_call.args == {"day": "Monday"}
            assert told[-1].usage_metadata.cached_content_token_count == 40
            await events_of(llm_at(vendor.url), ASKED)
            theirs, ours = vendor.requests
            theirs["systemInstruction"].pop("role")
            written = orjson.dumps(theirs).decode()
            for name in ("parametersJsonSchema", "thinkingLevel"):
                # The SDK writes some names the other way that JSON of protocol buffers allows.
                other = re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)
                written = written.replace(f'"{other}"', f'"{name}"')
            assert ours == orjson.loads(written)
            assert vendor.violations == []

    run(call())
