"""Tools: every call of one ends in one outcome, whatever the server or the function does."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import logging
import sys
import threading
import types
import zlib
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from structlog.testing import capture_logs

from flowengine.errors import FlowError
from flowengine.events import Json
from flowengine.ports import ToolJob, ToolResult
from flowengine.runtime import functions
from flowengine.runtime.functions import Functions
from flowengine.runtime.tools import (
    MOST_BYTES,
    HttpToolSpec,
    PythonToolSpec,
    RenderSpec,
    ToolRunner,
    ToolSpec,
)
from tests.runtime.web import Web, answer, json_answer, web

pytestmark = pytest.mark.unit

JOB = ToolJob("call_1/find/1", "find_patient", {"phone": "+33600000001"})
MODULE = "flowengine_test_tools"


def run(play: Callable[[ToolRunner], Awaitable[None]], secrets: Mapping[str, str] = {}) -> None:
    """Run a play with a runner that may reach loopback."""

    async def whole() -> None:
        runner = ToolRunner(secrets, allow_private=True, functions=Functions(find=found))
        try:
            await play(runner)
        finally:
            await runner.close()

    asyncio.run(whole())


def asked_of(
    spec: Callable[[str], ToolSpec | RenderSpec],
    *script: bytes | None,
    secrets: Mapping[str, str] = {},
) -> tuple[ToolResult, Web]:
    """Run one tool against a server with this script; the spec is given the server's URL."""
    results: list[tuple[ToolResult, Web]] = []

    async def play(runner: ToolRunner) -> None:
        async with web(*script) as server:
            results.append((await runner.run(JOB, spec(server.url)), server))

    run(play, secrets)
    return results[0]


def get(path: str = "/", **settings: Json) -> Callable[[str], HttpToolSpec]:
    return lambda url: HttpToolSpec("GET", url + path, **settings)


def post(path: str = "/", **settings: Json) -> Callable[[str], HttpToolSpec]:
    return lambda url: HttpToolSpec("POST", url + path, **settings)


# --- HTTP: what is sent ---


def test_a_request_is_sent_as_it_was_rendered() -> None:
    spec = post(
        "/patients?v=1",
        query={"phone": "+33 6", "tags": ["a", "b"], "n": 2, "on": True, "none": None},
        headers={"X-Clinic": "paris"},
        body={"name": "Zoé", "age": 41},
    )
    result, server = asked_of(spec, json_answer({"id": 7}, 201))
    assert result == ToolResult("done", 201, {"id": 7})
    (asked,) = server.asked
    assert asked.method == "POST"
    assert asked.target == "/patients?v=1&phone=%2B33+6&tags=a&tags=b&n=2&on=true&none="
    assert asked.headers["x-clinic"] == "paris"
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == '{"name":"Zoé","age":41}'.encode()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post"])
def test_what_may_change_something_carries_the_jobs_key(method: str) -> None:
    result, server = asked_of(lambda url: HttpToolSpec(method, url), answer())
    assert result.outcome == "done"
    assert server.asked[0].method == method.upper()
    assert server.asked[0].headers["idempotency-key"] == JOB.key


def test_a_get_carries_no_key() -> None:
    _, server = asked_of(get(), answer())
    assert "idempotency-key" not in server.asked[0].headers


def test_a_key_of_the_flows_own_is_kept() -> None:
    _, server = asked_of(post(headers={"idempotency-key": "mine"}), answer())
    assert server.asked[0].headers["idempotency-key"] == "mine"


def test_cookies_of_one_call_are_not_sent_for_another() -> None:
    async def play(runner: ToolRunner) -> None:
        async with web(answer(headers={"Set-Cookie": "caller=1; Path=/"}), answer()) as server:
            await runner.run(JOB, get()(server.url))
            await runner.run(JOB, get()(server.url))
            assert len(server.asked) == 2
            assert "cookie" not in server.asked[1].headers

    run(play)


def test_connections_are_kept_between_calls() -> None:
    async def play(runner: ToolRunner) -> None:
        async with web(answer(), answer()) as server:
            await runner.run(JOB, get()(server.url))
            await runner.run(JOB, get()(server.url))
            assert (len(server.asked), server.connections) == (2, 1)

    run(play)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    result, _ = asked_of(get(), answer())
    assert result.outcome == "done"


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (HttpToolSpec("GET", "ftp://example.com/"), "bad_url"),
        (HttpToolSpec("GET", "file:///etc/passwd"), "bad_url"),
        (HttpToolSpec("GET", "/only/a/path"), "bad_url"),
        (HttpToolSpec("GET", "http://[::1"), "bad_url"),
        (HttpToolSpec("GET", ""), "bad_url"),
    ],
)
def test_a_url_that_is_none_is_a_failure(spec: HttpToolSpec, error: str) -> None:
    async def play(runner: ToolRunner) -> None:
        assert await runner.run(JOB, spec) == ToolResult("failed", error=error)

    run(play)


@pytest.mark.parametrize("headers", [{"X-Name": "a\r\nX-Evil: 1"}, {"X Name": "a"}])
def test_a_header_that_would_split_the_request_is_refused(headers: dict[str, str]) -> None:
    result, server = asked_of(get(headers=headers))
    assert result == ToolResult("failed", error="bad_request")
    assert server.asked == []


# --- HTTP: what comes back ---


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (json_answer({"a": [1, None]}), ToolResult("done", 200, {"a": [1, None]})),
        (answer(b'"x"', 200, "application/problem+json"), ToolResult("done", 200, "x")),
        (answer(b"{}", 200, "Application/JSON; charset=utf-8"), ToolResult("done", 200, {})),
        (answer(b"{}", 200, "text/plain"), ToolResult("done", 200, "{}")),
        (
            answer("é".encode("latin-1"), 200, "text/plain; charset=latin-1"),
            ToolResult("done", 200, "é"),
        ),
        (answer(b"\xff", 200, "text/plain; charset=nonsense"), ToolResult("done", 200, "\ufffd")),
        (answer(b"", 204), ToolResult("done", 204, None)),
        (answer(b"{oops"), ToolResult("done", 200, "{oops", "bad_json")),
        (answer(b"[" * 5000), ToolResult("done", 200, "[" * 5000, "bad_json")),
        (json_answer({"why": 1}, 404), ToolResult("failed", 404, {"why": 1}, "http_status")),
        (json_answer({}, 500), ToolResult("failed", 500, {}, "http_status")),
        (answer(b"", 304), ToolResult("failed", 304, None, "http_status")),
    ],
)
def test_an_answer_becomes_a_result(reply: bytes, result: ToolResult) -> None:
    assert asked_of(post(), reply)[0] == result


def packed(content: bytes, encoding: str) -> bytes:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    return answer(pack(content), headers={"Content-Encoding": encoding})


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_answers_are_unpacked(encoding: str) -> None:
    assert asked_of(get(), packed(b'{"a":1}', encoding))[0] == ToolResult("done", 200, {"a": 1})


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(b" " * (MOST_BYTES + 1)), "too_large"),
        (packed(b" " * 50_000_000, "gzip"), "too_large"),
        (answer(b"x", headers={"Content-Encoding": "br"}), "bad_encoding"),
        (answer(b"not gzip", headers={"Content-Encoding": "gzip"}), "bad_encoding"),
        (
            answer(gzip.compress(b"{}" * 99)[:-9], headers={"Content-Encoding": "gzip"}),
            "bad_encoding",
        ),
    ],
)
def test_an_answer_that_is_too_much_is_a_failure(reply: bytes, error: str) -> None:
    assert asked_of(get(), reply)[0] == ToolResult("failed", 200, error=error)


def test_the_largest_answer_passes() -> None:
    text = "x" * (MOST_BYTES - 2)
    assert asked_of(get(), json_answer(text))[0] == ToolResult("done", 200, text)


def test_a_server_that_talks_nonsense_is_a_failure() -> None:
    assert asked_of(post(), b"220 smtp ready\r\n\r\n")[0] == ToolResult("failed", error="dropped")


def test_a_server_that_never_answers_is_a_timeout() -> None:
    result, _ = asked_of(get(timeout_ms=50), None)
    assert result == ToolResult("timeout", error="deadline")


def test_a_server_that_stops_in_the_middle_is_a_timeout() -> None:
    result, _ = asked_of(post(timeout_ms=50), answer(b"x" * 100)[:-50], None)
    assert result == ToolResult("timeout", error="deadline")


# --- HTTP: a second try ---


def test_a_get_that_was_dropped_is_tried_once_more() -> None:
    result, server = asked_of(get(), b"", json_answer(1))
    assert (result, len(server.asked)) == (ToolResult("done", 200, 1), 2)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_get_that_met_a_broken_gateway_is_tried_once_more(status: int) -> None:
    result, server = asked_of(get(), answer(b"", status), answer(b"", status), answer())
    assert (result.outcome, result.status, len(server.asked)) == ("failed", status, 2)


@pytest.mark.parametrize("script", [(b"",), (answer(b"", 503),)])
def test_what_may_have_acted_is_not_tried_again(script: tuple[bytes]) -> None:
    result, server = asked_of(post(), *script, answer())
    assert (result.outcome, len(server.asked)) == ("failed", 1)


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_clear_answer_is_not_asked_for_again(status: int) -> None:
    assert len(asked_of(get(), answer(b"", status), answer())[1].asked) == 1


def test_no_second_try_when_the_flow_wants_none() -> None:
    result, server = asked_of(get(retry=False), b"", answer())
    assert (result, len(server.asked)) == (ToolResult("failed", error="dropped"), 1)


def test_a_port_that_nobody_listens_on_is_a_failure_for_every_method() -> None:
    async def play(runner: ToolRunner) -> None:
        async with web() as server:
            url = server.url
        for method in ("GET", "POST"):
            result = await runner.run(JOB, HttpToolSpec(method, url))
            assert result == ToolResult("failed", error="connect")

    run(play)


# --- HTTP: redirects ---


def moved(to: str, status: int = 302) -> bytes:
    return answer(b"", status, headers={"Location": to})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_get_follows_on_the_same_host(status: int) -> None:
    result, server = asked_of(get("/a"), moved("/b?x=1", status), json_answer(1))
    assert result == ToolResult("done", 200, 1)
    assert [asked.target for asked in server.asked] == ["/a", "/b?x=1"]


@pytest.mark.parametrize("status", [307, 308])
def test_an_act_follows_as_it_is_with_the_same_key(status: int) -> None:
    _, server = asked_of(post("/a", body={"n": 1}), moved("/b", status), answer())
    assert [asked.method for asked in server.asked] == ["POST", "POST"]
    assert server.asked[1].body == b'{"n":1}'
    assert server.asked[1].headers["idempotency-key"] == JOB.key


def test_see_other_is_read() -> None:
    result, server = asked_of(post("/a"), moved("/b", 303), json_answer({"id": 1}))
    assert result == ToolResult("done", 200, {"id": 1})
    assert [asked.method for asked in server.asked] == ["POST", "GET"]


@pytest.mark.parametrize("status", [301, 302])
def test_an_act_is_not_turned_into_another(status: int) -> None:
    result, server = asked_of(post("/a"), moved("/b", status), answer())
    assert result == ToolResult("failed", status, error="redirect_refused")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "to", ["http://localhost:{port}/", "http://127.0.0.1:9/", "//example.com/", "ftp://127.0.0.1/"]
)
def test_another_host_is_not_followed(to: str) -> None:
    async def play(runner: ToolRunner) -> None:
        async with web(answer()) as server:
            server.script.insert(0, moved(to.format(port=server.port)))
            spec = get(headers={"Authorization": "Bearer x"})(server.url)
            result = await runner.run(JOB, spec)
            assert result == ToolResult("failed", 302, error="redirect_refused")
            assert len(server.asked) == 1

    run(play)


def test_going_round_in_circles_ends() -> None:
    result, server = asked_of(get(), *[moved("/")] * 9)
    assert result == ToolResult("failed", 302, error="redirect_refused")
    assert len(server.asked) == 4


# --- secrets and logs ---


def with_token(url: str) -> RenderSpec:
    def render(secrets: Mapping[str, str]) -> ToolSpec:
        return HttpToolSpec(
            "GET",
            f"{url}/?phone={JOB.arguments['phone']}",
            headers={"Authorization": f"Bearer {secrets['crm_token']}"},
        )

    return render


def test_secrets_are_placed_just_before_the_send() -> None:
    _, server = asked_of(with_token, answer(), secrets={"crm_token": "s3cr3t-value"})
    assert server.asked[0].headers["authorization"] == "Bearer s3cr3t-value"


def test_a_secret_that_the_server_repeats_does_not_come_back() -> None:
    echo = json_answer({"you sent": "Bearer s3cr3t-value", "other": "kept-secret"})
    secrets = {"crm_token": "s3cr3t-value", "unused": "kept-secret"}
    result, _ = asked_of(with_token, echo, secrets=secrets)
    assert result.body == {"you sent": "Bearer ***", "other": "kept-secret"}


def test_a_secret_that_there_is_not_is_a_failure() -> None:
    result, server = asked_of(with_token)
    assert (result, server.asked) == (ToolResult("failed", error="missing_secret"), [])


def test_a_spec_that_cannot_be_rendered_is_a_failure() -> None:
    def render(secrets: Mapping[str, str]) -> ToolSpec:
        raise FlowError("bad_template", "No.")

    result, _ = asked_of(lambda url: render)
    assert result == ToolResult("failed", error="not_rendered")


def test_no_log_line_holds_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        asked_of(with_token, answer(b"private", 400), secrets={"crm_token": "s3cr3t-value"})
        asked_of(with_token, b"", b"", secrets={"crm_token": "s3cr3t-value"})
    assert [line["event"] for line in logs] == ["tool_not_done"] * 2
    text = caplog.text + str(logs)
    assert not any(word in text for word in ("33600000001", "s3cr3t", "private", "phone"))


def test_the_repr_of_a_spec_shows_no_data() -> None:
    spec = HttpToolSpec("GET", "http://h/?p=33600", {"q": "33600"}, {"A": "tok"}, {"b": "33600"})
    assert "33600" not in repr(spec)
    assert "tok" not in repr(spec).replace("HttpToolSpec", "")


# --- Python functions ---


def found(name: str) -> Any:
    """What `package.module:function` names, in place of what is installed."""
    module, _, path = name.partition(":")
    target: Any = importlib.import_module(module)
    for part in path.split("."):
        target = getattr(target, part)
    return target


class Calendar:
    """Functions that a flow's author might write."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.may_end = threading.Event()

    def find(self, *, phone: str) -> Json:
        self.threads.append(threading.current_thread().name)
        return {"phone": phone, "slots": [1, 2]}

    async def find_async(self, phone: str) -> Json:
        self.threads.append(threading.current_thread().name)
        return [phone]

    def breaks(self, phone: str) -> None:
        raise ValueError(f"no slot for {phone}")

    async def breaks_async(self, phone: str) -> None:
        raise TimeoutError(phone)

    def leaves(self, phone: str) -> None:
        sys.exit(phone)

    def hangs(self, phone: str) -> None:
        self.may_end.wait(30)

    async def hangs_async(self, phone: str) -> None:
        await asyncio.Event().wait()

    def no_json(self, phone: str) -> object:
        return {phone}

    def large(self, phone: str) -> str:
        return "x" * MOST_BYTES

    def wrong_names(self, number: str) -> str:
        return number


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Calendar:
    module = types.ModuleType(MODULE)
    made = Calendar()
    vars(module)["calendar"] = made
    monkeypatch.setitem(sys.modules, MODULE, module)
    return made


def called(name: str, timeout_ms: int = 5000) -> ToolResult:
    results: list[ToolResult] = []

    async def play(runner: ToolRunner) -> None:
        results.append(await runner.run(JOB, PythonToolSpec(name, timeout_ms)))

    run(play)
    return results[0]


def test_a_function_runs_in_a_thread(calendar: Calendar) -> None:
    result = called(f"{MODULE}:calendar.find")
    assert result == ToolResult("done", body={"phone": "+33600000001", "slots": [1, 2]})
    assert calendar.threads == ["flowengine-tool"]


def test_an_async_function_is_awaited_on_the_loop(calendar: Calendar) -> None:
    assert called(f"{MODULE}:calendar.find_async") == ToolResult("done", body=["+33600000001"])
    assert calendar.threads == [threading.main_thread().name]


@pytest.mark.parametrize("name", ["breaks", "breaks_async", "leaves", "wrong_names"])
def test_a_function_that_raises_is_a_failure_and_its_words_stay_private(
    calendar: Calendar, name: str
) -> None:
    with capture_logs() as logs:
        assert called(f"{MODULE}:calendar.{name}") == ToolResult("failed", error="raised")
    assert [line["event"] for line in logs] == ["tool_raised", "tool_not_done"]
    assert "33600000001" not in str(logs)


@pytest.mark.parametrize("name", ["hangs", "hangs_async"])
def test_a_function_that_hangs_is_a_timeout(calendar: Calendar, name: str) -> None:
    result = called(f"{MODULE}:calendar.{name}", timeout_ms=50)
    calendar.may_end.set()
    assert result == ToolResult("timeout", error="deadline")


def test_functions_that_hang_leave_no_place_and_give_it_back(calendar: Calendar) -> None:
    async def play() -> None:
        runner = ToolRunner({}, functions=Functions(at_once=1, find=found))
        spec = PythonToolSpec(f"{MODULE}:calendar.hangs", 50)
        assert (await runner.run(JOB, spec)).outcome == "timeout"
        other = PythonToolSpec(f"{MODULE}:calendar.find", 50)
        assert (await runner.run(JOB, other)).outcome == "timeout"
        calendar.may_end.set()
        longer = PythonToolSpec(f"{MODULE}:calendar.find", 20_000)
        assert (await runner.run(JOB, longer)).outcome == "done"
        await runner.close()

    asyncio.run(play())


@pytest.mark.parametrize(("name", "error"), [("no_json", "not_json"), ("large", "too_large")])
def test_a_result_that_is_no_small_json_is_a_failure(
    calendar: Calendar, name: str, error: str
) -> None:
    assert called(f"{MODULE}:calendar.{name}") == ToolResult("failed", error=error)


@pytest.mark.parametrize(
    "name",
    [
        "no_such_module_here:x",
        f"{MODULE}:missing",
        f"{MODULE}:calendar.threads",
        "no_such_entry_point",
        ":",
        "",
    ],
)
def test_a_function_that_there_is_not_is_a_failure(calendar: Calendar, name: str) -> None:
    assert called(name) == ToolResult("failed", error="no_such_function")


def test_an_entry_point_is_found_by_its_name(
    calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("find_slots", f"{MODULE}:calendar.find", functions.GROUP)

    def points(*, group: str, name: str) -> list[EntryPoint]:
        return [point] if (group, name) == (functions.GROUP, point.name) else []

    monkeypatch.setattr(functions, "entry_points", points)

    async def play(name: str) -> ToolResult:
        return await Functions().call(name, JOB.arguments, MOST_BYTES)

    assert asyncio.run(play("find_slots")).outcome == "done"
    for name in ("find_rooms", f"{MODULE}:calendar.find", "os:getcwd"):
        assert asyncio.run(play(name)) == ToolResult("failed", error="no_such_function")
