"""What somebody outside asks of a running call: to say, to go elsewhere, to transfer, to end.

Pure part of the actor. Each command is answered once (`CommandAnswered`), in every state; a
refused one changes nothing. Words are said when neither the caller speaks nor keys: behind what
the bot is saying, or in its place (`cuts`). They are the bot's own in the conversation, so the LLM
knows them. A transfer and an end go the way of the flow's own: last words, drained, then the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from flowengine.commands import (
    Command,
    OperatorEnded,
    OperatorMoved,
    OperatorSaid,
    OperatorTransferred,
)
from flowengine.events import CommandAnswered, Json
from flowengine.flow.parts import Words
from flowengine.nodes import stage as asked
from flowengine.runtime.context import Context
from flowengine.runtime.keys import Keys
from flowengine.runtime.speaking import Ended, Speaking
from flowengine.runtime.thinking import Thinking
from flowengine.runtime.turns import Turns

if TYPE_CHECKING:
    from flowengine.runtime.journey import Exit, Journey

REASON = "operator"
"""Why a call ended that was ended from outside."""


class Steering:
    """Takes commands for the call."""

    def __init__(
        self,
        context: Context,
        journey: Journey,
        parts: tuple[Speaking, Thinking, Turns, Keys],
        exit_: Exit,
    ) -> None:
        self._context = context
        self._journey = journey
        self._speaking, self._thinking, self._turns, self._keys = parts
        self._exit = exit_
        self._spoken: set[int] = set()

    def take(self, command: Command, ending: Mapping[str, Json] | None) -> None:
        """Answer a command and begin with it; `ending`: the step for which the call is leaving."""
        refused = self._refused(command, is_ending=ending is not None)
        self._context.report(CommandAnswered(command.command, refused))
        if refused:
            return
        match command:
            case OperatorSaid():
                self._context.operated.says.append(command)
                self._journey.checkpoint()
            case OperatorMoved(_, node, reason):
                self._journey.move_to(node, {"operator": reason or True})
            case OperatorTransferred():
                self._transfer(command)
            case OperatorEnded():
                self._end(command, ending)

    def settle(self) -> bool:
        """Say the next of what waits to be said, if now is the time; whether it was."""
        says = self._context.operated.says
        if not says or not self._may_speak:
            return False
        self._say(says.pop(0))
        return True

    def drop(self) -> None:
        """The call ends: what was not said is not said any more."""
        self._context.operated.says.clear()

    def without_faults(self, ended: Iterable[Ended]) -> list[Ended]:
        """A voice that failed in an operator's words is no fault of the node."""
        return [
            replace(item, failed="") if item.generation in self._spoken else item for item in ended
        ]

    # --- inside ---

    def _refused(self, command: Command, *, is_ending: bool) -> str:
        journey = self._journey
        if isinstance(command, OperatorEnded):
            return ""
        if not journey.line_is_open:
            return "caller_left"
        if is_ending:
            return "call_is_ending"
        if isinstance(command, OperatorSaid):
            return ""
        if journey.awaits_transfer:
            return "in_transfer"
        node = command.node if isinstance(command, OperatorMoved) else command.back
        must_be_known = isinstance(command, OperatorMoved) or bool(node)
        return "unknown_node" if must_be_known and not journey.has_node(node) else ""

    @property
    def _may_speak(self) -> bool:
        is_caller_busy = self._turns.is_caller_speaking or bool(self._keys.entered)
        return self._journey.line_is_open and not is_caller_busy and not self._speaking.is_paused

    def _say(self, command: OperatorSaid) -> None:
        # What is held back for a turn that may not end so would stand before these words.
        self._thinking.drop_ahead()
        visit = self._journey.visits[-1]
        visit.evidence()
        ended: list[Ended] = []
        holds = isinstance(visit.request, asked.Wait)
        if command.cuts and (holds or self._speaking.may_be_cut):
            ended = self._speaking.cut(by_caller=False)
        words = (Words(command.text, static=False),)
        self._spoken.add(self._speaking.say(words, interruptible=True, is_answer=False))
        # Only now: what the node says next stands behind.
        visit.spoken(self.without_faults(ended))

    def _last_words(self, text: str) -> None:
        """Leave the nodes; what is playing ends its clause, then these words."""
        self._journey.close()
        self.drop()
        self._speaking.drop_waiting()
        if text:
            words = (Words(text, static=False),)
            self._speaking.say(words, interruptible=False, is_answer=False)

    def _transfer(self, command: OperatorTransferred) -> None:
        self._last_words(command.say)
        self._context.operated.away = command.back
        self._exit.leave(
            {
                "do": "dial",
                "to": list(command.to),
                "ring_s": command.ring_s,
                "longest_s": command.longest_s,
                "caller_id": command.caller_id,
                "press": command.press,
            }
        )

    def _end(self, command: OperatorEnded, ending: Mapping[str, Json] | None) -> None:
        if ending is not None and ending.get("do") != "dial":
            return  # it ends already
        disposition = command.disposition or "ended"
        self._context.operated.away = None
        if not self._journey.line_is_open:
            self._exit.finish(disposition, REASON)
            return
        self._last_words(command.say)
        self._exit.leave({"do": "hang_up"}, disposition, REASON)
