"""The thinking pipe: an LLM's answer in, clauses and proposals for the actor out.

One request at a time; tokens go straight into the cutter, so the actor sees clauses only. A timer,
not a wait, cuts what the LLM left standing for 120 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import fields, replace
from typing import Any

import orjson
import structlog

from flowengine.errors import ConfigError, ProviderError
from flowengine.events import (
    ClauseReady,
    Input,
    Json,
    ReplyEnded,
    ReplyFailed,
    ToolProposed,
    Usage,
)
from flowengine.media.clauses import ClauseCutter
from flowengine.media.thoughts import ThoughtFilter
from flowengine.ports import (
    HeardRequest,
    LlmAudio,
    LlmEnd,
    LlmEvent,
    LlmRequest,
    LlmSpent,
    LlmText,
    LlmToolUse,
    LlmUsage,
)
from flowengine.runtime.effects import AskLlm
from flowengine.runtime.estimates import request_tokens, tokens_of
from flowengine.runtime.services import Vendors
from flowengine.runtime.spoken_reply import SpokenReply
from flowengine.runtime.turn_audio import TurnAudio

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
_SPOKEN_KEPT = 4
"""Replies whose sound is kept: the one that is spoken, and those that are asked for ahead."""

log = structlog.get_logger(__name__)


class Mind:
    """The thinking pipe of one call."""

    def __init__(
        self,
        vendors: Vendors,
        spawn: Spawn,
        report: Callable[[Input], None],
        now_ms: Callable[[], int],
        turn_audio: TurnAudio | None = None,
    ) -> None:
        """`turn_audio`: what the caller says, where an LLM of the flow hears it."""
        self._vendors = vendors
        self._spawn = spawn
        self._report = report
        self._now_ms = now_ms
        self._answers: dict[int, _Answer] = {}
        self._turn_audio = turn_audio
        self._spoken: dict[int, SpokenReply] = {}
        """The latest replies that an LLM speaks itself, by their generation."""
        self.language = "en-US"
        """Of what the LLM writes; decides where clauses end."""

    def ask(self, effect: AskLlm) -> None:
        """Ask; what comes is reported under the effect's generation."""
        answer = _Answer(effect, self.language, self._report, self._now_ms)
        self._answers[effect.generation] = answer
        answer.task = self._spawn(self._listen(answer), "llm")

    def spoken(self, generation: int) -> SpokenReply | None:
        """The sound of a reply, if the LLM speaks it itself."""
        return self._spoken.get(generation)

    def cancel(self, generation: int, *, wasted: bool = False) -> None:
        """Report nothing more of an answer but what it used, and close it at the vendor."""
        answer = self._answers.pop(generation, None)
        if answer is None:
            return
        answer.stop()
        self._hush(generation)
        if answer.task is not None:
            answer.task.cancel()
        if answer.effect.provider and not answer.is_ended:
            answer.report_cancelled(wasted=wasted)

    def close(self) -> None:
        """Cancel every answer that is still under way."""
        for generation in list(self._answers):
            self.cancel(generation)

    async def _listen(self, answer: _Answer) -> None:
        effect = answer.effect
        code = "internal"
        try:
            if not effect.provider:
                code = "no_llm"
            else:
                llm = self._vendors.llm(effect.provider, effect.fallback)
                async with aclosing(llm.stream(self._heard(effect.request))) as events:
                    async for event in events:
                        if isinstance(event, LlmAudio):
                            self._sound(effect.generation, event.audio)
                        answer.take(event)
                code = "" if answer.is_ended else "dropped"
        except (ProviderError, ConfigError) as error:
            code = error.code
        except Exception as error:  # noqa: BLE001 - an adapter's bug costs the answer, not the call
            log.error("llm_broke", error=type(error).__name__)
        finally:
            answer.stop()
            self._hush(effect.generation)
        if self._answers.pop(effect.generation, None) is answer and code:
            answer.report_failed(code)

    def _heard(self, request: LlmRequest) -> LlmRequest:
        """The request with what the caller said last in his own voice."""
        if self._turn_audio is None:
            return request
        turns = sum(message.role == "user" for message in request.messages)
        told = {field.name: getattr(request, field.name) for field in fields(request)}
        return HeardRequest(**told, audio=self._turn_audio.of_turn(turns))

    def _sound(self, generation: int, audio: bytes) -> None:
        spoken = self._spoken.get(generation)
        if spoken is None:
            spoken = self._spoken[generation] = SpokenReply()
            while len(self._spoken) > _SPOKEN_KEPT:
                del self._spoken[next(iter(self._spoken))]
        spoken.feed(audio)

    def _hush(self, generation: int) -> None:
        spoken = self._spoken.get(generation)
        if spoken is not None:
            spoken.end()


class _Answer:
    """One streamed answer."""

    def __init__(
        self,
        effect: AskLlm,
        language: str,
        report: Callable[[Input], None],
        now_ms: Callable[[], int],
    ) -> None:
        self.effect = effect
        self.task: asyncio.Task[None] | None = None
        self.is_ended = False
        self._cutter = ClauseCutter(language)
        self._thoughts = ThoughtFilter()
        self._report = report
        self._now_ms = now_ms
        self._asked_ms = now_ms()
        self._first_token_ms: int | None = None
        self._has_text = False
        self._characters = 0
        self._usage: Usage | None = None
        """What it used, as far as that was told."""
        self.spent: tuple[Usage, ...] = ()
        """What attempts beside it used."""
        self._timer: asyncio.TimerHandle | None = None

    def take(self, event: LlmEvent) -> None:
        if isinstance(event, LlmUsage):
            self._usage = event.usage
            return
        if isinstance(event, LlmSpent):
            self.spent = event.usages
            return
        now_ms = self._now_ms()
        if self._first_token_ms is None:
            self._first_token_ms = now_ms - self._asked_ms
        match event:
            case LlmText(text):
                self._characters += len(text)
                self._say(self._thoughts.push(text), now_ms)
                self._watch(now_ms)
            case LlmToolUse():
                self._characters += len(event.name) + len(event.arguments)
                self._finish(now_ms)
                self._report(
                    ToolProposed(
                        self.effect.generation,
                        event.id,
                        event.name,
                        _object(event.arguments),
                        before_text=not self._has_text,
                    )
                )
            case LlmEnd(reason, usage):
                self.is_ended = True
                self.stop()
                self._finish(now_ms)
                is_told = usage is not None or self._usage is None
                self._report_end(reason, usage if is_told else self._estimate())

    def report_cancelled(self, *, wasted: bool) -> None:
        """The vendor's end does not come any more: count what was asked and what came."""
        self._report_end("cancelled", replace(self._estimate(), wasted=wasted))

    def report_failed(self, code: str) -> None:
        """No end comes. An answer that had begun counts, beside the attempts told as spent."""
        began = self._first_token_ms is not None
        spent = (self._estimate(), *self.spent) if began else self.spent
        self._report(ReplyFailed(self.effect.generation, code, spent))

    def _estimate(self) -> Usage:
        """What it used so far, by what was told and what came."""
        effect, known = self.effect, self._usage
        if known is None:
            asked = request_tokens(effect.request)
            known = Usage(effect.provider, effect.request.model, "tokens", asked)
        out = max(known.amount_out, tokens_of(self._characters))
        return replace(known, amount_out=out, estimated=True)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report_end(self, reason: str, usage: Usage | None) -> None:
        generation, first_ms = self.effect.generation, self._first_token_ms
        self._report(ReplyEnded(generation, reason, first_ms, usage, self.spent))

    def _say(self, text: str, now_ms: int) -> None:
        self._has_text = self._has_text or bool(text.strip())
        self._clauses(self._cutter.push(text, now_ms))

    def _finish(self, now_ms: int) -> None:
        self._say(self._thoughts.finish(), now_ms)
        self._clauses(self._cutter.finish())

    def _clauses(self, parts: list[str]) -> None:
        for part in parts:
            self._report(ClauseReady(self.effect.generation, part))

    def _watch(self, now_ms: int) -> None:
        self.stop()
        due_ms = self._cutter.deadline_ms
        if due_ms is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later((due_ms - now_ms) / 1000, self._idle)

    def _idle(self) -> None:
        self._timer = None
        now_ms = self._now_ms()
        self._clauses(self._cutter.tick(now_ms))
        self._watch(now_ms)


def _object(arguments: str) -> dict[str, Json] | None:
    """A tool's arguments; None when the LLM wrote no JSON object."""
    try:
        found = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
