"""The LLM's part of a visit: what a reply's proposals mean, in which order, and what comes next.

Pure part of the actor. When an answer is complete: values first (so that `when` may fire), then
the edge, then words, then tools; results go back to the LLM until it has answered the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flowengine.errors import FlowError
from flowengine.events import (
    ClauseReady,
    FaultMet,
    MoveRefused,
    ReplyEnded,
    ReplyFailed,
    ToolProposed,
)
from flowengine.flow.parts import Words
from flowengine.flow.scope import TurnFacts
from flowengine.nodes import stage as asked
from flowengine.nodes.stage import Expect
from flowengine.runtime.conversation import Entry, tool_result_text
from flowengine.runtime.effects import CancelLlm
from flowengine.runtime.prompting import DONE
from flowengine.runtime.thinking import Proposals
from flowengine.runtime.tool_inputs import Judged, judged

if TYPE_CHECKING:
    from flowengine.runtime.visit import Visit


class Replying:
    """The LLM turns of one visit."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._think: asked.Think | None = None
        self._reply_done = False
        self._has_been_wordless = False
        self._awaited: set[str] = set()
        """Keys of the tools whose results this reply waits for."""
        self._corrected: set[str] = set()
        """Tools that the LLM was told in this turn to call otherwise."""

    @property
    def is_thinking(self) -> bool:
        """Whether the node waits for an LLM turn."""
        return self._think is not None

    @property
    def awaits_tools(self) -> bool:
        """Whether the reply goes on when tools have their outcomes."""
        return bool(self._awaited)

    def think_about(self, request: asked.Think) -> asked.Reply | None:
        if self._visit.context.llm is None:
            return asked.Reply("", cut=False, failed="no_llm")
        self._think = request
        self._reply_done = False
        self._has_been_wordless = False
        self._awaited.clear()
        self._corrected.clear()
        self._visit.listen(Expect())
        self._visit.thinking.begin()
        self._visit.thinking.interruptible = self._visit.node.interruptible
        self._visit.thinking.ask(request, self._visit.walk.intents())
        self._visit.utterance = self._visit.thinking.utterance
        return None

    @property
    def may_be_foreseen(self) -> bool:
        """Whether the caller's next words are answered by the LLM, and nothing else is going on."""
        visit = self._visit
        expect = visit.expect
        if expect is None or not expect.is_answered or visit.context.llm is None:
            return False
        return visit.speaking.is_quiet and visit.thinking.is_foreseeable

    def ask_ahead(self, turn: TurnFacts) -> None:
        """Ask for the reply to a turn that is about to end so."""
        visit = self._visit
        node = visit.node
        if not isinstance(node, asked.Answering):
            return
        with visit.context.supposing(turn):
            try:
                visit.thinking.ask_ahead(node.answer(visit.stage()), visit.walk.intents())
            except FlowError:
                return  # nothing was asked; the turn's end meets the same fault, and tells it

    def catch_up(self) -> None:
        """A reply that was confirmed may have been complete before."""
        end = self._visit.thinking.take_end()
        if end is not None:
            self.reply_ended(end)

    def clause(self, event: ClauseReady) -> None:
        self._visit.thinking.clause(event)
        if self._think is not None and self._visit.thinking.utterance is not None:
            self._visit.utterance = self._visit.thinking.utterance

    def reply_ended(self, event: ReplyEnded) -> None:
        purpose = self._visit.thinking.purpose
        ended = self._visit.thinking.ended(event)
        if ended is None:
            return
        proposals, utterance = ended
        if purpose == "compose":
            self._visit.say_rest()
        elif purpose == "extract":
            self._extracted(proposals)
        else:
            self._reply_complete(proposals, utterance)

    def reply_failed(self, event: ReplyFailed) -> None:
        purpose = self._visit.thinking.purpose
        utterance = self._visit.thinking.failed(event)
        if utterance is False:
            return
        if purpose == "extract":
            self._visit.answer(asked.Extracted((), failed=event.code))
        elif purpose == "compose":
            self._visit.fail(event.code)
        else:
            self._think = None
            self._visit.utterance = None
            if utterance is not None:
                self._visit.speaking.end(utterance)
            self._visit.answer(asked.Reply("", cut=False, failed=event.code))

    def _reply_complete(self, proposals: Proposals, utterance: int | None) -> None:
        """Values first, then the edge, then words, then tools."""
        think = self._think
        if think is None:
            return
        results = self._note(proposals)
        if proposals.notes and self._visit.host.changed():
            return
        if proposals.edge:
            verdict = self._edge(proposals, think)
            if verdict == "taken":
                return
            results[proposals.edge_id] = (proposals.edge, verdict)
        for broken in proposals.broken:
            is_unknown = broken.arguments is not None
            fault = "there is no such tool" if is_unknown else "the arguments are no JSON object"
            self._refuse(broken, fault, results)
        for tool in proposals.tools:
            self._llm_tool(tool, proposals.answer, results)
        again = self._must_ask_again(proposals, results)
        self._remember(proposals, results if again or self._awaited else {})
        if self._awaited:
            self._visit.utterance = utterance
            return
        if again:
            self._visit.thinking.ask(think, self._visit.walk.intents(), utterance)
        elif utterance is not None:
            self._visit.utterance = utterance
            self._visit.spoken(self._visit.speaking.end(utterance))
        elif self._reply_done or (think.collect and self._is_complete()):
            self.over("", cut=False)
        else:
            self._wordless(think)

    def _wordless(self, think: asked.Think) -> None:
        """No words, no edge, nothing to wait for: silence would answer the caller."""
        visit = self._visit
        visit.context.report(FaultMet("empty_reply", "llm"))
        if not self._has_been_wordless and visit.thinking.has_rounds:
            self._has_been_wordless = True
            visit.thinking.ask(think, visit.walk.intents())
            return
        failed = "empty_reply" if visit.thinking.has_rounds else "too_many_rounds"
        self._think = None
        visit.utterance = None
        visit.answer(asked.Reply("", cut=False, failed=failed))

    def _must_ask_again(self, proposals: Proposals, results: Mapping[str, tuple[str, str]]) -> bool:
        """Whether the LLM has to hear results before it has answered the caller."""
        think = self._think
        if think is None or not self._visit.thinking.has_rounds or not results:
            return False
        if self._reply_done or (think.collect and self._is_complete() and not think.until):
            return False
        refused = any(text != "noted" for _, text in results.values())
        return refused or not proposals.has_spoken

    def _note(self, proposals: Proposals) -> dict[str, tuple[str, str]]:
        """Set what the LLM noted; what the variables' own grammar refuses is told to it."""
        think = self._think
        allowed = {*think.collect, *think.also} if think else set()
        told = []
        for name, value in proposals.notes.items():
            if name not in allowed or value is None:
                continue
            taken = self._visit.host.set_value(name, value, "llm")
            if isinstance(taken, asked.Rejected):
                reason = " ".join(part.text for part in taken.invalid if isinstance(part, Words))
                told.append(f"{name} is not valid. {reason}".strip())
        text = "; ".join(told) or "noted"
        return dict.fromkeys(proposals.note_ids, ("note", text))

    def _edge(self, proposals: Proposals, think: asked.Think) -> str:
        """Take the edge that the LLM proposed, or say why not."""
        context = self._visit.context
        edge, quote = proposals.edge, proposals.quote
        if edge == DONE and think.until:
            if self._is_complete():
                self._reply_done = True
                return "noted"
            self._visit.walk.refused(edge, "not everything is collected", quote)
            return "not done: values are missing"
        if edge not in {item.id for item in self._visit.walk.intents()}:
            self._visit.thinking.edges_allowed = False
            self._visit.walk.refused(edge, "no such edge", quote)
            return "no such edge"
        if not context.conversation.holds_quote(quote, context.node_entry):
            self._visit.thinking.edges_allowed = False
            self._visit.walk.refused(edge, "no evidence", quote)
            return "quote not found"
        return (
            "taken" if self._visit.host.take_intent(edge, "llm", quote, 0) else "not possible now"
        )

    def _remember(self, proposals: Proposals, results: Mapping[str, tuple[str, str]]) -> None:
        """Let the LLM see its own calls with their results in the next round."""
        entry = self._visit.context.node_entry
        conversation = self._visit.context.conversation
        arguments = dict.fromkeys(proposals.note_ids, proposals.notes)
        for called in (*proposals.tools, *proposals.broken):
            arguments[called.id] = called.arguments or {}
        arguments[proposals.edge_id] = {"edge": proposals.edge, "quote": proposals.quote}
        for use_id, (name, text) in results.items():
            tool = "take_edge" if use_id == proposals.edge_id else name
            written = tool_result_text(dict(arguments.get(use_id, {})))
            conversation.add(
                Entry("tool_use", written, entry, tool, use_id, answer=proposals.answer)
            )
            conversation.add(Entry("tool_result", text, entry, tool=tool, tool_id=use_id))

    def _is_complete(self) -> bool:
        values = self._visit.context.frame.values
        think = self._think
        return think is not None and all(values.get(name) is not None for name in think.collect)

    def over(self, heard: str, *, cut: bool) -> None:
        complete = self._is_complete()
        done = self._reply_done and complete
        self._think = None
        self._visit.thinking.cancel()
        self._visit.answer(asked.Reply(heard, cut, done=done, complete=complete))

    def extract(self, request: asked.Extract) -> asked.Extracted | None:
        if self._visit.context.llm is None:
            return asked.Extracted((), failed="no_llm")
        self._visit.thinking.begin()
        self._visit.thinking.extract(request)
        return None

    def _extracted(self, proposals: Proposals) -> None:
        request = self._visit.request
        if not isinstance(request, asked.Extract):
            return
        filled = []
        for name, value in proposals.notes.items():
            if name in request.values and value is not None:
                taken = self._visit.host.set_value(name, value, "llm")
                if isinstance(taken, asked.Accepted):
                    filled.append(name)
        if filled and self._visit.host.changed():
            return
        failed = "" if proposals.note_ids else "nothing_extracted"
        self._visit.answer(asked.Extracted(tuple(filled), failed=failed))

    def tool_over(self, key: str) -> None:
        """A tool has its outcome: with the last that is waited for the LLM is asked again.

        One that an earlier reply called leaves its result in the conversation, and no more.
        """
        visit = self._visit
        if key not in self._awaited:
            return
        self._awaited.discard(key)
        if self._awaited or self._think is None or not isinstance(visit.request, asked.Think):
            return
        visit.thinking.ask(self._think, visit.walk.intents(), visit.utterance)

    def abandon(self) -> None:
        """The caller goes on while we think: the reply would answer half of what he said."""
        visit = self._visit
        visit.thinking.cancel()
        if self._think is not None and not self._awaited:
            visit.cut_own_words()
            self.over("", cut=True)

    def cover(self) -> None:
        """Nothing of the answer is heard yet: tell the caller that it takes a moment."""
        visit = self._visit
        if visit.host.line_is_open:
            visit.thinking.covering.fill(caller_is_speaking=visit.turns.is_caller_speaking)

    def overdue(self) -> None:
        """Nothing came of the LLM for too long: what it may still write is of no use."""
        generation = self._visit.thinking.generation
        self._visit.context.do(CancelLlm(generation))
        self.reply_failed(ReplyFailed(generation, "deadline"))

    def _llm_tool(
        self, proposal: ToolProposed, answer: str, results: dict[str, tuple[str, str]]
    ) -> None:
        """Run a tool that the LLM called, once its arguments fit."""
        context = self._visit.context
        tool = context.program.flow.tools[proposal.name]
        given = Judged(proposal.arguments or {})
        if not tool.describes_itself:
            given = judged(tool.input, given.arguments, context.program, context.scope())
        if given.faults:
            self._refuse(proposal, "; ".join(given.faults), results)
            return
        count = sum(1 for item in self._visit.host.tool_ledger if ":llm" in item)
        key = f"{context.call_id}:{context.node_entry}:llm{count}"
        context.conversation.add(
            Entry(
                "tool_use",
                tool_result_text(dict(proposal.arguments or {})),
                context.node_entry,
                tool=proposal.name,
                tool_id=proposal.id,
                answer=answer,
            )
        )
        self._awaited.add(key)
        self._visit.tools[key] = proposal
        self._visit.run_tool(key, proposal.name, given.arguments, "llm")

    def _refuse(
        self, proposal: ToolProposed, fault: str, results: dict[str, tuple[str, str]]
    ) -> None:
        """Tell the LLM what is wrong with a call, once in a turn; the second time it has failed."""
        name = proposal.name
        is_second = name in self._corrected
        self._corrected.add(name)
        context = self._visit.context
        if is_second:
            context.report(FaultMet("bad_arguments", "tool", name))
        else:
            context.report(MoveRefused("tool_call", f"{name}: {fault}"))
        told = {"outcome": "failed" if is_second else "not_called", "error": fault}
        results[proposal.id] = (name, tool_result_text(told))
