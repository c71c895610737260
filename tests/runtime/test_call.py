"""Whole calls over real sockets: spoken turns, barge-in, vendors that fail, bugs of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from flowengine.events import (
    CallEnded,
    DigitPressed,
    Input,
    TurnEnded,
    UtteranceSpoken,
)
from flowengine.media.recording import read_wav
from flowengine.providers.deadlines import Deadlines
from flowengine.runtime.actor import Actor
from flowengine.runtime.audio_files import AudioFiles
from flowengine.runtime.effects import Effect
from flowengine.runtime.speaking import APOLOGY
from flowengine.testing.phone_audio import babble, is_audible
from flowengine.testing.providers.openai import Answer, saying
from flowengine.testing.providers.serving import Fault
from flowengine.testing.providers.speech import MS_A_CHARACTER
from tests.runtime.flows import LANGUAGES, MENU
from tests.runtime.house import CALLED, CALLER, Vendors, running, vendors

pytestmark = [pytest.mark.api, pytest.mark.anyio]

SHORT = Deadlines(
    llm_first_token_ms=300, llm_between_tokens_ms=300, tts_first_audio_ms=300, recovery_ms=300
)
LONG = (
    "We are open from nine in the morning until six in the evening on every day of the week. "
    "Is there anything else that I can tell you about our clinic?"
)


def take_edge(edge: str, quote: str) -> Answer:
    return Answer(tools=(("take_edge", orjson.dumps({"edge": edge, "quote": quote}).decode()),))


def heard_by(call_played: bytes, begin: int, end: int) -> int:
    """How many ms of speech somebody heard in a part of what the phone played."""
    frames = [call_played[at : at + 160] for at in range(begin, end, 160)]
    return 20 * sum(is_audible(frame) for frame in frames)


async def test_a_reply_is_asked_for_and_synthesised_before_the_turn_is_over(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        deepgram = behind.deepgram
        deepgram.plan.extend(["help please", "what are your hours", "okay goodbye"])
        behind.openai.plan.extend([saying("We can help."), saying("Until six.")])
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.say(babble(700))
            await call.hears()
            # From now on the words stand long before their turn is over.
            deepgram.hears_out_ms, deepgram.delay_ms = 120, 150
            await call.say(babble(900, seed=2))
            await call.hears()
            await call.hang_up()
        await run.settled()
        records = [record.body for record in await run.engine.store.journal(run.seen[0][0])]
    confirmed = [body for body in records if body["type"] == "ConfirmReply"]
    assert len(confirmed) == 1
    asked = [body for body in records if body["type"] == "AskLlm"]
    assert [body["tentative"] for body in asked][-1] is True


async def test_a_caller_goes_through_menu_and_dialog_by_voice(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        behind.deepgram.plan.extend(["help please", "okay goodbye"])
        behind.openai.plan.extend([saying("We can help you."), take_edge("e4", "okay goodbye")])
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.say(babble(700))
            await call.hears()
            await call.say(babble(700, seed=2))
            await call.over()
        report = call.report()
        await run.settled()
    assert run.path() == ["welcome", "choose", "talk", "bye"]
    assert [fact.text for fact in run.facts(TurnEnded)] == ["help please", "okay goodbye"]
    spoken = run.facts(UtteranceSpoken)
    assert all(fact.heard == fact.text and not fact.cut for fact in spoken)
    assert spoken[-1].text == "Goodbye."
    assert [fact.disposition for fact in run.facts(CallEnded)] == ["served"]
    assert len(report.responses_ms) == 2
    assert report.gaps_ms == () and report.faults == ()
    assert behind.deepgram.violations == []
    assert behind.openai.violations == []
    assert behind.elevenlabs.violations == []


async def test_a_call_changes_its_language_with_recogniser_voice_and_prompts(
    tmp_path: Path,
) -> None:
    async with vendors() as behind, running(tmp_path, LANGUAGES, behind) as run:
        made = {text.strip() for text in behind.elevenlabs.said}
        behind.deepgram.plan.extend(["ik zoek een cursus", "tot ziens"])
        behind.openai.plan.extend([saying("Wij geven SQL les."), take_edge("leave", "tot ziens")])
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.press("2")
            await call.hears()
            await call.say(babble(700))
            await call.hears()
            await call.say(babble(700, seed=2))
            await call.over()
        await run.settled()
    assert {"Waarmee kunnen we u helpen?", "Tot ziens.", "Goodbye."} <= made
    heard_with = [dict(query) for query in behind.deepgram.queries]
    assert [query["language"] for query in heard_with] == ["en-US", "nl-NL"]
    assert {query["keyterm"] for query in heard_with} == {"Zaandam"}
    assert behind.elevenlabs.said[-1].strip() == "Wij geven es ku el les."
    spoken = run.facts(UtteranceSpoken)
    assert [fact.heard for fact in spoken[1:]] == [
        "Waarmee kunnen we u helpen?",
        "Wij geven SQL les.",
        "Tot ziens.",
    ]
    assert behind.elevenlabs.violations == behind.deepgram.violations == []


async def test_the_recording_holds_both_sides_and_the_row_the_outcome(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears_speech()
            await call.say(babble(300))
            await call.hears()
            await call.press("1")
            await call.over()
        await run.settled()
        (row,) = await run.engine.store.calls(5)
        records = await run.engine.store.journal(row.id)
    assert (row.status, row.disposition, row.pending) == ("completed", "served", {"do": "hang_up"})
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    caller, bot = read_wav(tmp_path / "data" / "recordings" / f"{row.id}.wav")
    assert heard_by(caller, 0, len(caller)) >= 280
    spoken_ms = heard_by(bytes(call.played), 0, len(call.played))
    assert abs(heard_by(bot, 0, len(bot)) - spoken_ms) <= 100


async def test_what_was_heard_before_a_barge_in_is_what_the_phone_played(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        behind.deepgram.plan.extend(["help please", "stop that now", "okay goodbye"])
        behind.openai.plan.extend(
            [saying(LONG), saying("All right."), take_edge("e4", "okay goodbye")]
        )
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.say(babble(700))
            await call.hears_speech()
            begin = len(call.played) - 160
            await call.pause(1800)
            await call.say(babble(900, seed=3))
            await call.hears()
            await call.say(babble(700, seed=4))
            await call.over()
        cut = next(fact for fact in run.facts(UtteranceSpoken) if fact.cut)
        clear = next(clear for clear in call.clears if clear.dropped_bytes)
        played_ms = heard_by(bytes(call.played), begin, clear.played_bytes)
        asked = behind.openai.requests[1]["messages"]
    assert LONG.startswith(cut.heard)
    words = LONG[: played_ms // MS_A_CHARACTER].count(" ")
    assert abs(cut.heard.count(" ") + 1 - words) <= 1
    assert any(m["role"] == "assistant" and m["content"] == cut.heard.strip() for m in asked)
    assert not any("anything else" in (m["content"] or "") for m in asked)


async def test_speech_that_confirms_nothing_makes_the_bot_go_on(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        behind.deepgram.plan.extend(["help please"])
        behind.openai.plan.append(saying(LONG))
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.say(babble(700))
            await call.hears_speech()
            begin = len(call.played) - 160
            await call.pause(1500)
            await call.say(babble(100, seed=3))
            await call.hears(3000)
            end = len(call.played)
        long = next(fact for fact in run.facts(UtteranceSpoken) if fact.text == LONG)
    assert any(clear.dropped_bytes for clear in call.clears)
    assert long.heard == LONG and not long.cut
    spoken_ms = heard_by(bytes(call.played), begin, end)
    assert spoken_ms >= len(LONG) * MS_A_CHARACTER - 100


def _refuse(behind: Vendors) -> None:
    behind.openai.faults.extend([Fault("refuse", status=429)] * 3)


def _hang(behind: Vendors) -> None:
    behind.openai.faults.extend([Fault("hang")] * 3)


def _die(behind: Vendors) -> None:
    behind.openai.plan.append(saying(LONG))
    behind.openai.faults.append(Fault("cut", after=12))


@pytest.mark.parametrize("fault", [_refuse, _hang, _die])
async def test_an_llm_that_fails_leads_to_the_error_edge_with_speech(
    tmp_path: Path, fault: Callable[[Vendors], None]
) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind, deadlines=SHORT) as run:
        behind.deepgram.plan.append("help please")
        fault(behind)
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.say(babble(700))
            await call.hears_speech(limit_s=4)
            await call.over()
        await run.settled()
    assert run.path() == ["welcome", "choose", "talk", "sorry"]
    spoken = run.facts(UtteranceSpoken)[-1]
    assert spoken.heard == spoken.text == "Sorry, that did not work."


async def test_a_voice_that_fails_leads_to_the_error_edge_with_cached_speech(
    tmp_path: Path,
) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind, deadlines=SHORT) as run:
        behind.deepgram.plan.append("help please")
        behind.openai.plan.append(saying(LONG))
        behind.elevenlabs.faults.extend([Fault("refuse", status=429)] * 9)
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.say(babble(700))
            await call.hears_speech(limit_s=4)
            await call.over()
    assert run.path() == ["welcome", "choose", "talk", "sorry"]
    assert run.facts(UtteranceSpoken)[-1].heard == "Sorry, that did not work."


async def test_without_any_voice_the_caller_hears_the_apology(tmp_path: Path) -> None:
    async with (
        vendors() as behind,
        running(tmp_path, MENU, behind, deadlines=SHORT, prompts=False) as run,
    ):
        behind.elevenlabs.faults.extend([Fault("refuse", status=429)] * 50)
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears(limit_s=15)
            await call.over()
    assert apology() in bytes(call.played)
    assert [fact.disposition for fact in run.facts(CallEnded)] == ["failed"]


async def test_a_recogniser_that_cannot_be_had_leads_to_the_error_edge_with_speech(
    tmp_path: Path,
) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind, deadlines=SHORT) as run:
        behind.deepgram.faults.extend([Fault("refuse", status=401)] * 20)
        async with run.phone.call(CALLER, CALLED) as call:
            await call.over()
    assert run.path() == ["welcome", "sorry"]
    assert run.facts(UtteranceSpoken)[-1].heard == "Sorry, that did not work."


async def test_a_bug_of_ours_ends_the_call_with_an_apology(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = Actor.receive

    def broken(self: Actor, event: Input, now_ms: int) -> list[Effect]:
        if isinstance(event, DigitPressed):
            raise ZeroDivisionError
        return receive(self, event, now_ms)

    monkeypatch.setattr(Actor, "receive", broken)
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.press("1")
            await call.over()
        await run.settled()
        (row,) = await run.engine.store.calls(5)
    assert apology() in bytes(call.played)
    assert row.disposition == "failed"
    assert row.status in ("failed", "completed")


async def test_a_caller_who_hangs_up_ends_everything(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears_speech()
        await run.settled()
        (row,) = await run.engine.store.calls(5)
    assert row.status == "completed"
    assert [fact.reason for fact in run.facts(CallEnded)] == ["hung_up"]


def apology() -> bytes:
    audio = AudioFiles().get(APOLOGY)
    assert audio is not None
    return audio


def test_the_apology_is_a_few_seconds_long() -> None:
    assert 3 * 8000 <= len(apology()) <= 6 * 8000


async def test_static_prompts_are_heard_at_once(tmp_path: Path) -> None:
    async with vendors() as behind, running(tmp_path, MENU, behind) as run:
        behind.elevenlabs.said.clear()
        async with run.phone.call(CALLER, CALLED) as call:
            await call.hears()
            await call.press("1")
            await call.over()
    assert behind.elevenlabs.said == []
    assert heard_by(bytes(call.played), 0, len(call.played)) > 0
