"""Static prompts: what is the same speech, what is kept, what is made when it is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from flowengine.errors import ProviderError
from flowengine.events import Usage, Word
from flowengine.ports import Clause, SpeechChunk
from flowengine.runtime.prompts import AT_ONCE, CachedSpeech, PromptCache, Speaker, WarmUp

pytestmark = pytest.mark.unit

SPEAKER = Speaker("elevenlabs", "flash", "rachel", "en-US", {"speed": 1.0, "stability": 0.5})
SPEECH = CachedSpeech(b"\x7f\n\xff" * 800, (Word(5, 0, 150), Word(11, 150, 300)))


@dataclass
class Studio:
    """Opens scripted voices, and knows what they were asked."""

    fails: dict[str, ProviderError] = field(default_factory=dict)
    """Errors by text; each is raised once."""
    silent: set[str] = field(default_factory=set)
    spoken: list[str] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def open(self) -> ScriptedVoice:
        self.opened += 1
        return ScriptedVoice(self)


class ScriptedVoice:
    """Speaks a text as its own bytes, in two chunks."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def speak(self, clauses: AsyncIterator[Clause]) -> AsyncGenerator[SpeechChunk, None]:
        studio = self._studio
        studio.at_once += 1
        studio.most_at_once = max(studio.most_at_once, studio.at_once)
        try:
            async for clause in clauses:
                studio.spoken.append(clause.text)
                # Lets the others begin.
                await asyncio.to_thread(int)
                if clause.text in studio.fails:
                    raise studio.fails.pop(clause.text)
                audio = clause.text.encode()
                end = len(clause.text)
                yield SpeechChunk(clause.number, audio[:3])
                if clause.text not in studio.silent:
                    yield SpeechChunk(clause.number, audio[3:], (Word(end, 0, 9),), last=True)
        finally:
            studio.at_once -= 1

    async def close(self) -> Usage | None:
        self._studio.closed += 1
        return None


def spoken(text: str) -> CachedSpeech:
    return CachedSpeech(text.encode(), (Word(len(text), 0, 9),))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "other",
    [
        replace(SPEAKER, provider="x"),
        replace(SPEAKER, model="x"),
        replace(SPEAKER, voice="x"),
        replace(SPEAKER, language="x"),
        replace(SPEAKER, format="x"),
        replace(SPEAKER, settings={"speed": 1.1, "stability": 0.5}),
        replace(SPEAKER, provider="elevenlabsf", model="lash"),
    ],
)
def test_whatever_changes_the_sound_changes_the_key(other: Speaker) -> None:
    assert other.key("Hello.") != SPEAKER.key("Hello.")


def test_the_key_is_stable() -> None:
    again = replace(SPEAKER, settings={"stability": 0.5, "speed": 1.0})
    assert again.key("Hello.") == SPEAKER.key("Hello.")
    assert SPEAKER.key("Hello.") != SPEAKER.key("Hello!")
    assert len(SPEAKER.key("Hello.")) == 64


def test_what_is_put_is_there_at_once_and_in_a_new_process(tmp_path: Path) -> None:
    async def play() -> None:
        cache = PromptCache(tmp_path)
        key = SPEAKER.key("Hello.")
        assert cache.get(key) is None
        await cache.put(key, SPEECH)
        assert cache.get(key) == SPEECH
        assert len(files_in(tmp_path)) == 1
        later = PromptCache(tmp_path)
        assert later.get(key) is None
        assert await later.load(key) == SPEECH
        assert later.get(key) == SPEECH

    asyncio.run(play())


def test_memory_is_bounded_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    async def play() -> None:
        cache = PromptCache(tmp_path, memory_bytes=3000)
        for name in ("a", "b", "c"):
            await cache.put(name, CachedSpeech(bytes(1000)))
        assert cache.get("a") is not None
        await cache.put("d", CachedSpeech(bytes(1000)))
        assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]
        await cache.put("d", CachedSpeech(bytes(500)))
        assert cache.memory_bytes == 2500
        await cache.put("e", CachedSpeech(bytes(4000)))
        assert cache.memory_bytes == 0
        assert await cache.load("b") == CachedSpeech(bytes(1000))

    asyncio.run(play())


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "no_head", "other_format", "words"])
def test_a_damaged_file_is_a_miss_with_a_log_line(tmp_path: Path, damage: str) -> None:
    async def play() -> None:
        await PromptCache(tmp_path).put("k", SPEECH)
        (file,) = files_in(tmp_path)
        whole = file.read_bytes()
        file.write_bytes(
            {
                "cut": whole[:-1],
                "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
                "empty": b"",
                "no_head": SPEECH.audio,
                "other_format": whole.replace(b'"format":1', b'"format":2', 1),
                "words": whole.replace(b"[[5,", b"[[", 1),
            }[damage]
        )
        with capture_logs() as logs:
            assert await PromptCache(tmp_path).load("k") is None
        assert [line["event"] for line in logs] == ["prompt_corrupt"]

    asyncio.run(play())


def test_a_disk_that_does_not_take_it_costs_only_the_file(tmp_path: Path) -> None:
    async def play() -> None:
        (tmp_path / "file").write_text("")
        cache = PromptCache(tmp_path / "file")
        with capture_logs() as logs:
            await cache.put("k", SPEECH)
        assert cache.get("k") == SPEECH
        assert [line["event"] for line in logs] == ["prompt_not_written"]

    asyncio.run(play())


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    async def play() -> None:
        cache = PromptCache(tmp_path)
        await cache.put("k", SPEECH)
        monkeypatch.setattr("flowengine.runtime.prompts.os.replace", full)
        await cache.put("k", CachedSpeech(b"other"))
        assert await PromptCache(tmp_path).load("k") == SPEECH
        assert len(files_in(tmp_path)) == 1

    asyncio.run(play())


def test_a_warm_up_makes_what_is_missing_two_at_a_time(tmp_path: Path) -> None:
    texts = [f"Prompt {number}." for number in range(7)]

    async def play() -> None:
        studio = Studio()
        cache = PromptCache(tmp_path)
        await cache.put(SPEAKER.key(texts[3]), SPEECH)
        result = await cache.warm([*texts, *texts], SPEAKER, studio.open)
        assert result == WarmUp(found=1, made=6)
        assert sorted(studio.spoken) == sorted(set(texts) - {texts[3]})
        assert studio.most_at_once == AT_ONCE
        assert (studio.opened, studio.closed) == (AT_ONCE, AT_ONCE)
        assert cache.get(SPEAKER.key(texts[0])) == spoken(texts[0])
        later = PromptCache(tmp_path)
        again = Studio()
        assert await later.warm(texts, SPEAKER, again.open) == WarmUp(found=7)
        assert again.opened == 0
        assert later.get(SPEAKER.key(texts[6])) == spoken(texts[6])

    asyncio.run(play())


def test_two_warm_ups_at_once_make_each_prompt_once(tmp_path: Path) -> None:
    texts = [f"Prompt {number}." for number in range(5)]

    async def play() -> None:
        studio = Studio()
        cache = PromptCache(tmp_path)
        both = await asyncio.gather(
            cache.warm(texts, SPEAKER, studio.open), cache.warm(texts, SPEAKER, studio.open)
        )
        assert sorted(studio.spoken) == texts
        assert sum(result.made for result in both) == 5

    asyncio.run(play())


def test_a_passing_fault_costs_one_prompt(tmp_path: Path) -> None:
    async def play() -> None:
        overloaded = ProviderError("overloaded", "Too busy.", where="elevenlabs", retryable=True)
        studio = Studio(fails={"B.": overloaded}, silent={"C."})
        cache = PromptCache(tmp_path)
        with capture_logs() as logs:
            result = await cache.warm(["A.", "B.", "C.", "D."], SPEAKER, studio.open)
        assert (result.made, sorted(result.failed)) == (2, ["overloaded", "protocol"])
        assert cache.get(SPEAKER.key("C.")) is None
        assert studio.opened == studio.closed
        assert not any("A." in str(line) or "B." in str(line) for line in logs)
        assert await cache.warm(["B."], SPEAKER, studio.open) == WarmUp(made=1)

    asyncio.run(play())


def test_a_fault_that_would_come_again_ends_the_warm_up(tmp_path: Path) -> None:
    texts = [f"Prompt {number}." for number in range(20)]

    async def play() -> None:
        refusal = ProviderError("auth", "The key is wrong.", where="elevenlabs")
        studio = Studio(fails={texts[0]: refusal})
        result = await PromptCache(tmp_path).warm(texts, SPEAKER, studio.open)
        assert result.failed == ["auth"]
        assert len(studio.spoken) <= 2 * AT_ONCE
        assert studio.opened == studio.closed

    asyncio.run(play())


def test_a_voice_that_cannot_be_opened_is_a_result(tmp_path: Path) -> None:
    async def shut() -> ScriptedVoice:
        raise ProviderError("connect", "No way there.", where="elevenlabs")

    async def play() -> None:
        result = await PromptCache(tmp_path).warm(["A.", "B.", "C."], SPEAKER, shut)
        assert result.made == 0
        assert set(result.failed) == {"connect"}

    asyncio.run(play())


def test_a_cancelled_warm_up_closes_its_voices_and_can_be_repeated(tmp_path: Path) -> None:
    async def play() -> None:
        studio = Studio()
        cache = PromptCache(tmp_path)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await cache.warm(["A.", "B.", "C."], SPEAKER, studio.open)
        assert studio.opened == studio.closed
        result = await cache.warm(["A.", "B.", "C."], SPEAKER, studio.open)
        assert result.made + result.found == 3

    asyncio.run(play())
