"""The simulated phone on real sockets: what a script sees of a call, and many calls at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flowengine.media.recording import read_wav
from flowengine.ports import Line, LineAudio, LineDigit, Reconnect
from flowengine.testing.phone import Phone, PhoneCall, PhoneError
from flowengine.testing.phone_audio import babble, comfort_noise, is_audible
from flowengine.testing.phone_group import Phones
from tests.carriers.exchange import AUTH_TOKEN, CALLED, CALLER, Exchange, served

pytestmark = [pytest.mark.conversation, pytest.mark.anyio]

GREETING, ANSWER, SPEECH = babble(200, seed=1), babble(160, seed=2), babble(140, seed=3)


async def converse(line: Line) -> None:
    """Greet; answer each utterance 60 ms after its end, and each key at once."""
    await line.send_audio(GREETING)
    quiet_frames = 0
    async for event in line.events():
        if isinstance(event, LineDigit):
            await line.send_audio(ANSWER)
        elif isinstance(event, LineAudio):
            if is_audible(event.audio):
                quiet_frames = 1
            elif quiet_frames:
                quiet_frames += 1
                if quiet_frames == 4:
                    quiet_frames = 0
                    await line.send_audio(ANSWER)


async def with_call(
    exchange: Exchange, script: Callable[[PhoneCall], Awaitable[None]], **more: tuple[bytes, ...]
) -> PhoneCall:
    async with (
        served(exchange) as base_url,
        Phone(base_url, AUTH_TOKEN, **more).call(CALLER, CALLED) as call,
    ):
        await script(call)
    return call


async def test_a_conversation_is_heard_measured_and_recorded(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def script(call: PhoneCall) -> None:
        heard.append(await call.hears(100))
        await call.say(SPEECH)
        heard.append(await call.hears(100))
        await call.press("5")
        heard.append(await call.hears(100))

    call = await with_call(Exchange(talk=converse), script)
    assert GREETING in heard[0]
    assert ANSWER in heard[1] and GREETING not in heard[1]
    assert ANSWER in heard[2]
    report = call.report()
    assert (len(report.responses_ms), len(report.key_responses_ms)) == (1, 1)
    assert report.responses_ms[0] >= 60
    assert report.opening_ms is not None
    assert report.barge_ins == () and report.gaps_ms == () and report.faults == ()
    call.save(tmp_path / "call.wav")
    assert read_wav(tmp_path / "call.wav") == (bytes(call.spoken), bytes(call.played))
    assert SPEECH[:160] in bytes(call.spoken)


async def test_noise_on_the_line_is_sent_and_answered_by_nobody() -> None:
    noise = comfort_noise()
    heard = bytearray()

    async def keep(line: Line) -> None:
        async for event in line.events():
            if isinstance(event, LineAudio):
                heard.extend(event.audio)

    async def script(call: PhoneCall) -> None:
        await call.connected()
        await call.pause(100)

    await with_call(Exchange(talk=keep), script, background=noise)
    assert bytes(heard[:320]) == noise[0] + noise[1]


async def test_a_script_goes_on_over_a_second_stream() -> None:
    async def greet_and_close(line: Line) -> None:
        await line.send_audio(GREETING)
        await line.send_mark("done")
        async for event in line.events():
            if not isinstance(event, LineAudio):
                await line.close()

    exchange = Exchange(talk=greet_and_close)
    exchange.steps.append(Reconnect(exchange.ticket()))
    heard: list[bytes] = []

    async def script(call: PhoneCall) -> None:
        heard.append(await call.hears(100))
        heard.append(await call.hears(100))
        await call.over()

    await with_call(exchange, script)
    assert all(GREETING in audio for audio in heard)
    assert len(exchange.opened) == 2


async def test_what_does_not_happen_is_named_with_its_limit() -> None:
    async def script(call: PhoneCall) -> None:
        with pytest.raises(PhoneError, match=r"waited_too_long.*0\.05 s for the weather"):
            await call.hears_speech(what="the weather", limit_s=0.05)

    await with_call(Exchange(), script)


async def test_a_call_that_ends_leaves_no_script_waiting() -> None:
    async def close(line: Line) -> None:
        await line.close()

    async def script(call: PhoneCall) -> None:
        with pytest.raises(PhoneError, match="call_over"):
            await call.hears()
        with pytest.raises(PhoneError, match="call_over"):
            await call.say(SPEECH)

    await with_call(Exchange(talk=close), script)


async def test_many_callers_are_summed_up_and_one_failure_stands_out() -> None:
    async def script(call: PhoneCall, number: int) -> None:
        await call.hears(100)
        await call.say(SPEECH)
        await call.hears(100)
        if number == 2:
            await call.hears(100, what="more", limit_s=0.05)

    exchange = Exchange(talk=converse)
    async with served(exchange) as base_url:
        phones = Phones(base_url, AUTH_TOKEN)
        summary = await phones.ring(4, script)
    assert summary.calls == 4
    assert len(summary.failures) == 1
    assert summary.failures[0].startswith("2: [waited_too_long]")
    assert summary.responses_ms.count == 4
    assert summary.openings_ms.count == 4
    assert summary.faults == ()
    assert len({offer.from_number for offer in exchange.offers}) == 4


async def test_a_bot_that_hangs_up_cuts_the_caller_short() -> None:
    async def close_when_spoken_to(line: Line) -> None:
        async for event in line.events():
            if isinstance(event, LineAudio) and is_audible(event.audio):
                await line.close()

    async def script(call: PhoneCall) -> None:
        with pytest.raises(PhoneError, match="call_over"):
            await call.say(babble(5000))

    call = await with_call(Exchange(talk=close_when_spoken_to), script)
    assert 0 < call.report().caller_speech_ms < 5000


async def test_a_call_that_goes_on_is_named_with_its_limit() -> None:
    async def script(call: PhoneCall) -> None:
        with pytest.raises(PhoneError, match=r"waited_too_long.*0\.05 s for the call to end"):
            await call.over(limit_s=0.05)

    call = await with_call(Exchange(), script)
    assert call.ended.is_set()
