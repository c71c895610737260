"""Speech that is always the same, synthesised once: the cache of static prompts.

A call asks `get` on its way to the line, so that is a look into memory; files are read and missing
speech is made by `warm`, in the background, when a flow's version is first loaded. One file holds
audio and alignment together, so that they cannot part.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from flowengine.errors import ProviderError
from flowengine.events import Json, Word
from flowengine.ports import Clause, Voice

MEMORY_BYTES = 64 * 1024 * 1024
"""Audio kept in memory by a process: about 2.3 hours of µ-law."""
AT_ONCE = 2
SYNTHESIS_S = 30.0
"""The most that one prompt may take in the background."""
_FORMAT = 1

log = structlog.get_logger(__name__)

VoiceOpener = Callable[[], Awaitable[Voice]]


@dataclass(frozen=True, slots=True)
class CachedSpeech:
    """One text as µ-law 8000 Hz, and where its words lie in it."""

    audio: bytes
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Speaker:
    """All that decides, beside the text, how a prompt sounds."""

    provider: str
    model: str
    voice: str
    language: str
    settings: Mapping[str, Json] = field(default_factory=dict)
    format: str = "ulaw_8000"

    def key(self, text: str) -> str:
        """SHA-256 over the text and the speaker, as 64 hex digits."""
        parts = {
            "text": text,
            "provider": self.provider,
            "model": self.model,
            "voice": self.voice,
            "language": self.language,
            "format": self.format,
            "settings": dict(self.settings),
        }
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(slots=True)
class WarmUp:
    """How a warm-up went: prompts that were there, made, and not made (codes of the errors)."""

    found: int = 0
    made: int = 0
    failed: list[str] = field(default_factory=list)


class PromptCache:
    """Static prompts: the latest used in memory, all of them in files below `folder`."""

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self._folder = folder
        self._most_bytes = memory_bytes
        self._memory: OrderedDict[str, CachedSpeech] = OrderedDict()
        self._memory_bytes = 0
        self._being_made: set[str] = set()

    @property
    def memory_bytes(self) -> int:
        """Audio that is in memory."""
        return self._memory_bytes

    def get(self, key: str) -> CachedSpeech | None:
        """Speech that is in memory; never reads a file."""
        speech = self._memory.get(key)
        if speech is not None:
            self._memory.move_to_end(key)
        return speech

    async def load(self, key: str) -> CachedSpeech | None:
        """Speech from memory or from its file, which is read off the loop."""
        speech = self.get(key)
        if speech is None:
            speech = await asyncio.to_thread(_read, self._file(key))
            if speech is not None:
                self._remember(key, speech)
        return speech

    async def put(self, key: str, speech: CachedSpeech) -> None:
        """Keep speech: in memory at once, in its file when this returns.

        A disk that does not take it costs the file, not the call.
        """
        self._remember(key, speech)
        try:
            await asyncio.to_thread(_write, self._file(key), speech)
        except OSError as error:
            log.warning("prompt_not_written", key=key, error=type(error).__name__)

    async def warm(self, texts: Iterable[str], speaker: Speaker, open_voice: VoiceOpener) -> WarmUp:
        """Load what there is and make what is missing, two at a time.

        An error that would come again (`retryable` false) ends the warm-up: the prompts that are
        still missing are then made when they are first spoken.
        """
        result = WarmUp()
        missing: list[tuple[str, str]] = []
        for text in dict.fromkeys(texts):
            key = speaker.key(text)
            if await self.load(key) is not None:
                result.found += 1
            elif key not in self._being_made:
                self._being_made.add(key)
                missing.append((key, text))
        if missing:
            await self._make_all(missing, open_voice, result)
        return result

    async def _make_all(
        self, missing: list[tuple[str, str]], open_voice: VoiceOpener, result: WarmUp
    ) -> None:
        log.info("prompts_warming", missing=len(missing), found=result.found)
        queue = list(reversed(missing))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(missing))):
                    group.create_task(self._make(queue, open_voice, result))
        finally:
            self._being_made.difference_update(key for key, _ in missing)
        log.info("prompts_warm", made=result.made, failed=len(result.failed), left=len(queue))

    async def _make(
        self, queue: list[tuple[str, str]], open_voice: VoiceOpener, result: WarmUp
    ) -> None:
        """Make prompts off the common queue with one voice; a new voice after an error."""
        voice: Voice | None = None
        try:
            while queue:
                key, text = queue.pop()
                try:
                    async with asyncio.timeout(SYNTHESIS_S):
                        voice = voice or await open_voice()
                        speech = await _synthesise(voice, text)
                except (ProviderError, TimeoutError) as error:
                    code = error.code if isinstance(error, ProviderError) else "deadline"
                    log.warning("prompt_not_made", key=key, code=code)
                    result.failed.append(code)
                    if isinstance(error, ProviderError) and not error.retryable:
                        queue.clear()
                    await _close(voice)
                    voice = None
                    continue
                await self.put(key, speech)
                result.made += 1
        finally:
            await _close(voice)

    def _remember(self, key: str, speech: CachedSpeech) -> None:
        before = self._memory.pop(key, None)
        if before is not None:
            self._memory_bytes -= len(before.audio)
        self._memory[key] = speech
        self._memory_bytes += len(speech.audio)
        while self._memory_bytes > self._most_bytes:
            _, oldest = self._memory.popitem(last=False)
            self._memory_bytes -= len(oldest.audio)

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.prompt"


async def _close(voice: Voice | None) -> None:
    if voice is not None:
        await voice.close()


async def _synthesise(voice: Voice, text: str) -> CachedSpeech:
    audio = bytearray()
    words: list[Word] = []
    is_whole = False
    stream = voice.speak(_only(Clause(0, text)))
    try:
        async for chunk in stream:
            audio += chunk.audio
            words += chunk.words
            is_whole = is_whole or chunk.last
    finally:
        await stream.aclose()
    if not (audio and is_whole):
        raise ProviderError(
            "protocol",
            "The voice ended before it had spoken the whole prompt.",
            fix="The prompt is made when it is first spoken.",
            retryable=True,
        )
    return CachedSpeech(bytes(audio), tuple(words))


async def _only(clause: Clause) -> AsyncIterator[Clause]:
    yield clause


# A file: one line of JSON, then the audio. The line holds a hash, so that half a file is known.


def _write(file: Path, speech: CachedSpeech) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    head = {
        "format": _FORMAT,
        "sha256": hashlib.sha256(speech.audio).hexdigest(),
        "words": [(word.end_char, word.start_ms, word.end_ms) for word in speech.words],
    }
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(orjson.dumps(head) + b"\n" + speech.audio)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(file: Path) -> CachedSpeech | None:
    """The speech in a file; None when there is none, or when it is not whole."""
    try:
        head, _, audio = file.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("prompt_unreadable", key=file.stem, error=type(error).__name__)
        return None
    try:
        words = _checked_words(orjson.loads(head), audio)
    except (ValueError, TypeError, KeyError) as error:
        log.warning("prompt_corrupt", key=file.stem, error=type(error).__name__)
        return None
    return CachedSpeech(audio, words)


def _checked_words(head: Any, audio: bytes) -> tuple[Word, ...]:
    if head["format"] != _FORMAT:
        raise ValueError("another format")
    if head["sha256"] != hashlib.sha256(audio).hexdigest():
        raise ValueError("the audio is not what was written")
    return tuple(Word(int(end), int(start), int(stop)) for end, start, stop in head["words"])
