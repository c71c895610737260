"""A webhook that decides where a call goes: in time, late, wrong, forbidden, signed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest

from flowengine.runtime.egress import GuardedBackend
from flowengine.runtime.route_asking import route
from flowengine.runtime.route_facts import RouteFacts
from flowengine.runtime.routes import ForwardTarget
from flowengine.runtime.routing import Decision
from flowengine.runtime.tools import ToolRunner
from tests.runtime.route_tables import BERLIN, PARIS, WEDNESDAY, call, flow, router
from tests.runtime.web import Asked, Web, answer, json_answer, web

pytestmark = pytest.mark.unit

DEFAULT = flow("desk")
SECRETS = {"crm": "whsec_" + base64.b64encode(b"a key of sixteen").decode(), "plain": "as it is"}
FACTS = call(
    PARIS,
    headers={"X-Queue": "gold"},
    metadata={"tries": 2},
    running={"all": 4, "number": 1, "desk": 1},
)


async def decided(
    server: Web,
    *,
    facts: RouteFacts = FACTS,
    allow_private: bool = True,
    secrets: Mapping[str, str] = SECRETS,
    **target: Any,
) -> Decision:
    """What comes of a rule `r0` that asks the server."""
    ask = {"ask": f"{server.url}/route", "timeout": "5s", "default": {"flow": "desk"}, **target}
    runner = ToolRunner(secrets, backend=GuardedBackend(allow_private=allow_private))
    try:
        return await route(router({"to": ask}), facts, runner)
    finally:
        await runner.close()


def played(*script: bytes | None, **asked: Any) -> tuple[Decision, list[Asked]]:
    async def play() -> tuple[Decision, list[Asked]]:
        async with web(*script) as server:
            return await decided(server, **asked), server.asked

    return asyncio.run(play())


def test_an_answer_in_time_decides() -> None:
    decision, asked = played(json_answer({"forward": BERLIN}))
    assert decision.target == ForwardTarget(forward=BERLIN)
    assert decision.rule == "r0"
    assert decision.steps[-1].words == "the webhook decides"
    (question,) = asked
    assert (question.method, question.target) == ("POST", "/route")
    assert "webhook-signature" not in question.headers
    assert json.loads(question.body) == {
        "call": {"id": "call_1", "from": PARIS, "to": "+33155555555", "country": "FR"},
        "at": WEDNESDAY.isoformat(),
        "headers": {"X-Queue": "gold"},
        "metadata": {"tries": 2},
        "load": {"all": 4, "number": 1, "flows": {"desk": 1}},
        "rule": "r0",
    }


def test_a_withheld_number_is_told_as_none() -> None:
    _, asked = played(json_answer({"flow": "a"}), facts=call("anonymous"))
    assert json.loads(asked[0].body)["call"] == {
        "id": "call_1",
        "from": "",
        "to": "+33155555555",
        "country": "",
    }


def test_a_late_answer_is_the_default_case() -> None:
    decision, asked = played(None, timeout="50ms")
    assert decision.target == DEFAULT
    assert decision.steps[-1].words == (
        "the webhook did not answer within 50ms, so its default (deadline)"
    )
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (json_answer({"flow": "x"}, 500), "http_status"),
        (json_answer({"flow": "x"}, 404), "http_status"),
        (json_answer({"flow": "x", "colour": 1}), "unknown_key"),
        (json_answer({"forward": "911"}), "bad_phone"),
        (json_answer({"ask": "https://x.example", "default": {"flow": "a"}}), "no_target"),
        (json_answer([]), "wrong_type"),
        (answer(b"", 204), "wrong_type"),
        (answer(b"{", 200), "bad_json"),
        (answer(b'{"flow": "x"}', 200, "text/plain"), "wrong_type"),
        (answer(b" " * 300_000), "too_large"),
        (answer(b"x", headers={"Content-Encoding": "gzip"}), "bad_encoding"),
        (b"", "dropped"),
        (b"SIP/2.0 200 OK\r\n\r\n", "dropped"),
    ],
)
def test_a_bad_answer_is_the_default_case(reply: bytes, code: str) -> None:
    decision, asked = played(reply)
    assert decision.target == DEFAULT
    assert decision.steps[-1].words.endswith(f", so its default ({code})")
    assert len(asked) == 1, "nobody is asked twice while a caller waits"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(status: int) -> None:
    there = {"Location": "http://169.254.169.254/latest/meta-data/"}
    decision, asked = played(answer(b"", status, headers=there))
    assert decision.target == DEFAULT
    assert decision.steps[-1].words.endswith("(redirect_refused)")
    assert len(asked) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
def test_a_private_target_is_not_asked(host: str) -> None:
    async def play() -> None:
        async with web(json_answer({"flow": "x"})) as server:
            url = f"http://{host}:{server.port}/route"
            decision = await decided(server, allow_private=False, ask=url)
            assert decision.target == DEFAULT
            assert decision.steps[-1].words.endswith("(target_refused)")
            assert server.connections == 0

    asyncio.run(play())


def test_nobody_there_is_the_default_case() -> None:
    async def play() -> None:
        async with web() as server:
            url = server.url
        decision = await decided(server, ask=url)
        assert decision.steps[-1].words == (
            "the webhook could not be asked, so its default (connect)"
        )

    asyncio.run(play())


@pytest.mark.parametrize(("secret", "key"), [("crm", b"a key of sixteen"), ("plain", b"as it is")])
def test_a_question_is_signed_with_its_secret(secret: str, key: bytes) -> None:
    decision, (question,) = played(json_answer({"flow": "x"}), secret=secret)
    assert decision.target == flow("x")
    headers = question.headers
    assert headers["webhook-id"] == "call_1"
    assert headers["webhook-timestamp"] == str(int(WEDNESDAY.timestamp()))
    content = b"call_1." + headers["webhook-timestamp"].encode() + b"." + question.body
    digest = hmac.new(key, content, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_without_its_secret_a_webhook_is_not_asked() -> None:
    decision, asked = played(secret="crm", secrets={})
    assert decision.target == DEFAULT
    assert decision.steps[-1].words.endswith("(missing_secret)")
    assert asked == []


def test_a_rule_that_asks_nobody_asks_nobody() -> None:
    async def play() -> None:
        async with web() as server:
            runner = ToolRunner({}, backend=GuardedBackend(allow_private=True))
            decision = await route(router({"to": {"forward": BERLIN}}), FACTS, runner)
            await runner.close()
            assert decision.target == ForwardTarget(forward=BERLIN)
            assert server.connections == 0

    asyncio.run(play())
