"""One call on one line: the one file that starts tasks.

A single task takes events from one queue, in order; the actor decides; what it decides is handed
on at once, in the same step. Pipes only translate: the ear hears, the mind thinks, the mouth
speaks, the playback sends. All of them live in one TaskGroup and end with the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from flowengine.commands import Command
from flowengine.errors import CarrierError, StoreError
from flowengine.events import (
    CallEnded,
    CommandAnswered,
    EndRequested,
    Event,
    FaultMet,
    Input,
    Json,
    LineClosed,
    ReplyEnded,
    ReplyFailed,
    Ticked,
    ToolEnded,
    Usage,
    UsageCounted,
)
from flowengine.flow.program import Program
from flowengine.flow.types import duration_ms
from flowengine.ids import CallId, NodeId
from flowengine.media.live import LiveMix
from flowengine.ports import Line, SttHints, ToolResult
from flowengine.runtime.actor import Actor
from flowengine.runtime.call_recording import CallRecording
from flowengine.runtime.context import DEFAULTS, ServerDefaults
from flowengine.runtime.ear import Ear, HeardAudio, Wanted
from flowengine.runtime.effects import (
    AskLlm,
    CancelLlm,
    ConfirmReply,
    CoverSilence,
    CutSpeech,
    DropClauses,
    Effect,
    LeaveLine,
    Listen,
    PauseSpeech,
    Report,
    ResumeSpeech,
    RunTool,
    Speak,
)
from flowengine.runtime.journal import Journal
from flowengine.runtime.mind import Mind
from flowengine.runtime.mouth import Mouth
from flowengine.runtime.playback import Playback, SentAudio
from flowengine.runtime.queue import EventQueue
from flowengine.runtime.services import Services
from flowengine.runtime.speaking import APOLOGY
from flowengine.runtime.thinking import usages_of
from flowengine.runtime.tool_requests import run_tool
from flowengine.runtime.turn_audio import TurnAudio, hears_caller

FAREWELL_S = 8.0
"""How long the apology of a broken call may take."""
TOOLS_S = 10.0
"""How long tools may go on after the media phase, so that each has its outcome."""
_LAST = 1 << 60
"""The generation of the apology: behind everything that the actor ever opened."""

log = structlog.get_logger(__name__)

Watch = Callable[[CallId, Event, int], None]


@dataclass(frozen=True, slots=True)
class CallPlan:
    """All that a call needs, made ready by whoever admits calls."""

    call_id: CallId
    actor: Actor
    program: Program
    server: ServerDefaults
    journal: Journal
    services: Services
    begin: Sequence[Input]
    """The actor's first inputs."""
    leave: Callable[[Mapping[str, Json]], Awaitable[None]]
    """Keeps the step for which the line is left; awaited before the line is closed."""
    begin_ms: int = 0
    """Call time at which this media phase begins."""
    recording: Path | None = None
    watch: Watch | None = None


@dataclass(slots=True)
class CallOver:
    """How the media phase ended."""

    step: Mapping[str, Json] | None = None
    ended: CallEnded | None = None
    is_broken: bool = False
    recording: Path | None = None
    usages: list[Usage] = field(default_factory=list)


class Call:
    """One media phase of a call."""

    def __init__(self, plan: CallPlan, line: Line) -> None:
        self._plan = plan
        self._line = line
        self._actor = plan.actor
        self._journal = plan.journal
        self._log = log.bind(call=plan.call_id)
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._zero_s = loop.time() - plan.begin_ms / 1000
        self._queue = EventQueue(lambda: self._log.error("call_overloaded"))
        self._recording = (
            None if plan.recording is None else CallRecording(plan.recording, self.now_ms)
        )
        self._sent_to: list[SentAudio] = [] if self._recording is None else [self._recording]
        self._playback = Playback(line, self._queue.put, self.now_ms, self._sent_to)
        vendors = plan.services.vendors
        turn_audio = TurnAudio() if hears_caller(plan.program, plan.server, vendors) else None
        self._mind = Mind(vendors, self._spawn, self._queue.put, self.now_ms, turn_audio)
        self._mouth = Mouth(
            self._playback,
            plan.services,
            self._spawn,
            self._queue.put,
            self.now_ms,
            self._mind.spoken,
        )
        self._heard_by: list[HeardAudio] = [
            other for other in (self._recording, turn_audio) if other is not None
        ]
        self._ear = Ear(
            line,
            vendors,
            self._spawn,
            self._queue.put,
            self._playback.mark_came,
            self._heard_by,
        )
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._tools: set[asyncio.Task[None]] = set()
        self._over = CallOver()
        self._commands: dict[str, asyncio.Future[str]] = {}
        self._listeners: list[LiveMix] = []
        self._is_private = False
        """Something sensitive is collected: nobody listens to it."""
        self._is_decided = False
        """The actor is over: nothing more can be asked of it."""

    def now_ms(self) -> int:
        """Call time."""
        return int((self._loop.time() - self._zero_s) * 1000)

    def request_end(self, reason: str) -> None:
        """Ask the call to end in order: `draining`, `stopped`."""
        self._queue.put(EndRequested(reason))

    @property
    def id(self) -> CallId:
        """Which call it is."""
        return self._plan.call_id

    async def steer(self, command: Command) -> str:
        """Ask something of the call: "" when it does it, else why not."""
        if self._is_decided:
            return "call_is_over"
        answer: asyncio.Future[str] = self._loop.create_future()
        self._commands[command.command] = answer
        self._queue.put(command)
        refused: str = await answer
        return refused

    @contextmanager
    def heard(self) -> Iterator[LiveMix]:
        """Listen to both sides for as long as the block lasts; nobody in the call notices."""
        mix = LiveMix(self.now_ms)
        mix.silence(on=self._is_private)
        mix.bot(self.now_ms(), self._playback.on_line())
        self._listeners.append(mix)
        self._heard_by.append(mix)
        self._sent_to.append(mix)
        try:
            yield mix
        finally:
            self._listeners.remove(mix)
            self._heard_by.remove(mix)
            self._sent_to.remove(mix)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    async def run(self) -> CallOver:
        """Run the media phase to its end; never raises for what goes wrong inside."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for event in self._plan.begin:
                    self._step(event)
                self._spawn(self._playback.run(), "playback")
                self._spawn(self._ear.run(), "line")
                self._listen_first()
                if self._recording is not None:
                    self._spawn(self._recording.run(), "recording")
                await self._decide()
                self._close_to_others()
                await self._leave()
                await self._finish()
        finally:
            self._close_to_others()
            self._journal.flush()
        return self._over

    # --- the one loop ---

    async def _decide(self) -> None:
        actor, queue = self._actor, self._queue
        while not actor.is_over and not self._over.is_broken:
            event = queue.take()
            if event is not None:
                self._step(event)
                continue
            due_ms = actor.deadline_ms
            if due_ms is not None and due_ms <= self.now_ms():
                self._step(Ticked())
                continue
            await queue.wait(None if due_ms is None else self._zero_s + (due_ms + 0.5) / 1000)
        if self._over.is_broken:
            await self._farewell()

    def _step(self, event: Input) -> None:
        """One step: take an event, hand on what the actor decides."""
        now_ms = self.now_ms()
        actor, journal, watch = self._actor, self._journal, self._plan.watch
        if actor.is_over or self._over.is_broken:
            return
        try:
            journal.input(event, now_ms, is_sensitive=actor.hears_sensitive)
            if watch is not None:
                watch(self._plan.call_id, event, now_ms)
            for effect in actor.receive(event, now_ms):
                journal.effect(effect, now_ms)
                self._do(effect, now_ms)
        except Exception as error:  # noqa: BLE001 - a bug in here must not leave a caller in silence
            self._broke(error, now_ms)

    def _do(self, effect: Effect, now_ms: int) -> None:
        match effect:
            case AskLlm():
                self._mind.ask(effect)
            case CancelLlm(generation, wasted):
                self._mind.cancel(generation, wasted=wasted)
            case RunTool():
                self._tools.add(self._spawn(self._run_tool(effect), "tool"))
            case Listen():
                self._listen(effect)
            case LeaveLine(step):
                self._over.step = step
            case Report(fact):
                if isinstance(fact, CallEnded):
                    self._over.ended = fact
                elif isinstance(fact, CommandAnswered):
                    self._answer(fact.command, fact.refused)
                elif isinstance(fact, FaultMet):
                    self._log.warning("fault", part=fact.part, code=fact.code)
                if self._plan.watch is not None:
                    self._plan.watch(self._plan.call_id, fact, now_ms)
            case _:
                self._sound(effect)

    def _sound(self, effect: Effect) -> None:
        """What concerns the bot's voice, at once and in this order: the line first."""
        match effect:
            case Speak():
                self._mind.language = effect.language
                self._mouth.speak(effect)
            case CoverSilence():
                self._mouth.cover(effect)
            case ConfirmReply(_, utterance) if utterance is not None:
                self._playback.release(utterance)
            case CutSpeech(floor):
                self._playback.cut(floor)
                self._mouth.cut(floor)
            case PauseSpeech():
                self._playback.pause(self._queue.withdraw_audio())
            case ResumeSpeech(generation, clause, from_ms):
                self._playback.resume(generation, clause, from_ms)
            case DropClauses(generation, wasted):
                self._playback.drop(generation)
                self._mouth.drop(generation, wasted=wasted)

    def _answer(self, command: str, refused: str) -> None:
        answer = self._commands.pop(command, None)
        if answer is not None and not answer.done():
            answer.set_result(refused)

    def _close_to_others(self) -> None:
        self._is_decided = True
        for mix in self._listeners:
            mix.is_over = True
        for command in list(self._commands):
            self._answer(command, "call_is_over")

    # --- listening ---

    def _listen(self, effect: Listen) -> None:
        self._mind.language = effect.language
        self._ear.want(Wanted(effect.stt, effect.language, effect.endpointing_ms))
        self._ear.hint(SttHints(effect.candidates, effect.digits))
        self._is_private = effect.sensitive
        for mix in self._listeners:
            mix.silence(on=effect.sensitive)
        if self._recording is not None:
            self._recording.want(on=effect.recording and not effect.sensitive)

    def _listen_first(self) -> None:
        """Open recogniser and voice while the first words are being said."""
        program, server = self._plan.program, self._plan.server
        settings = program.settings(self._actor.node or NodeId(program.flow.start))
        language = settings.language or DEFAULTS.language or "en-US"
        turn_taking = settings.turn_taking
        endpointing_ms = duration_ms((turn_taking and turn_taking.endpointing) or "300ms")
        nodes = program.flow.nodes.values()
        if any(node.listens for node in nodes):
            self._ear.want(Wanted(settings.stt or server.stt, language, endpointing_ms), first=True)
        if any(node.speaks for node in nodes):
            self._spawn(self._mouth.warm(settings.tts or server.tts, language), "voice")
        if self._recording is not None:
            self._recording.want(on=settings.recording is not False, first=True)

    # --- tools ---

    async def _run_tool(self, effect: RunTool) -> None:
        began_ms = self.now_ms()
        result = await self._tool_result(effect)
        event = ToolEnded(
            effect.key,
            result.outcome,
            result.status,
            result.body,
            result.error,
            self.now_ms() - began_ms,
        )
        if self._actor.is_over:
            # Nobody waits for it any more, but each tool has its outcome in the journal.
            self._journal.input(event, self.now_ms(), is_sensitive=False)
        else:
            self._queue.put(event)

    async def _tool_result(self, effect: RunTool) -> ToolResult:
        if effect.barrier:
            try:
                await self._journal.written()
            except StoreError as error:
                self._log.error("tool_not_run", tool=effect.tool, code=error.code)
                return ToolResult("failed", error="journal_degraded")
        return await run_tool(self._plan.services.tools, self._plan.program, effect)

    # --- the end ---

    def _broke(self, error: Exception, now_ms: int) -> None:
        """A bug of ours: say so, apologise, hang up. The log has the place, not the words."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        self._log.error("call_broke", error=type(error).__name__, place=place.rpartition("/")[2])
        self._over.is_broken = True
        self._journal.effect(Report(FaultMet("internal", "engine", type(error).__name__)), now_ms)

    async def _farewell(self) -> None:
        """Apologise without the actor."""
        self._over.step = {"do": "hang_up"}
        ended = CallEnded("failed", "internal", {}, self.now_ms())
        self._over.ended = ended
        self._journal.effect(Report(ended), self.now_ms())
        self._mouth.cut(_LAST)
        self._playback.cut(_LAST)
        self._playback.open(_LAST)
        audio = self._plan.services.audio.get(APOLOGY) or b""
        self._playback.feed(_LAST, 0, audio, last=True)
        until_s = self._loop.time() + FAREWELL_S
        while not self._playback.is_idle and self._loop.time() < until_s:
            await self._queue.wait(until_s)
            event = self._queue.take()
            if isinstance(event, LineClosed):
                return

    async def _leave(self) -> None:
        """Keep what comes next, then close the line, at which the carrier asks for it."""
        step = self._over.step
        if step is not None and step.get("do") == "dial":
            try:
                await self._journal.written()
            except StoreError as error:
                self._log.error("dial_not_made", code=error.code)
                step = self._over.step = {"do": "no_dial", "reason": "journal_degraded"}
        if step is not None:
            try:
                await self._plan.leave(step)
            except StoreError as error:
                self._log.error("step_not_stored", code=error.code)
        try:
            await self._line.close()
        except CarrierError as error:
            self._log.info("line_was_gone", code=error.code)

    async def _finish(self) -> None:
        """Close everything: pipes at once, tools when they have their outcome."""
        for task in self._tasks - self._tools:
            task.cancel()
        running = {task for task in self._tools if not task.done()}
        if running:
            await asyncio.wait(running, timeout=TOOLS_S)
        self._mind.close()
        thought = self._unread_usages()
        heard, spoken = await asyncio.gather(self._ear.close(), self._mouth.close())
        for usage in (*thought, *heard, *spoken):
            self._over.usages.append(usage)
            self._journal.effect(Report(UsageCounted(usage)), self.now_ms())
        if self._recording is not None:
            self._over.recording = await self._recording.close()
        for task in self._tools:
            task.cancel()

    def _unread_usages(self) -> list[Usage]:
        """What answers used whose end the actor did not live to see."""
        usages: list[Usage] = []
        while (event := self._queue.take()) is not None:
            if isinstance(event, (ReplyEnded, ReplyFailed)):
                usages += usages_of(event)
        return usages

    # --- tasks ---

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._group is None:
            raise RuntimeError("a call's tasks start with its run")
        task = self._group.create_task(self._guarded(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step would leave its coroutine unawaited.
        task.add_done_callback(lambda _: work.close())
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Let no pipe's fault end the call in silence."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - told to the log and, for the line, to the actor
            self._log.error("pipe_broke", pipe=name, error=type(error).__name__)
            if name in ("line", "playback"):
                self._queue.put(LineClosed("lost"))
