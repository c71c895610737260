"""A call goes on from each of its checkpoints, at its node, with its values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import orjson
import pytest

from flowengine.events import CallBegan, CallEnded, LineOpened, NodeEntered, Ticked, TransferEnded
from flowengine.flow.program import Program
from flowengine.runtime.actor import Actor
from flowengine.runtime.effects import Report, RunTool, SaveCheckpoint, Speak
from flowengine.testing.scripts import Step
from flowengine.testing.simulation import Caller, Responder, World, setup_of, simulate
from tests.runtime.small_flows import desk, shop, talk

pytestmark = pytest.mark.conversation

WALL = "2026-03-03T10:05:00+00:00"
LLM = Responder(notes={"day": {"monday": "monday"}}, takes={"done": "that is all"})
SHOPPING: list[Step] = [
    Caller.says("secret"),
    Caller.presses("4711"),
    Caller.says("order"),
    Caller.says("seven"),
    Caller.says("yes"),
]
TALKING: list[Step] = [
    Caller.says("on monday"),
    Caller.hears("I see"),
    Caller.says("that is all"),
]
AT_THE_DESK: list[Step] = [Caller.says("five"), Caller.hears("still holding")]
TOOLS: dict[str, Any] = {"account": {"tier": "gold"}, "order": {"ok": True}}
CALLS = {
    "shop": (shop, SHOPPING),
    "talk": (talk, TALKING),
    "desk": (desk, AT_THE_DESK),
}
MOST_TICKS = 500


def checkpoints_of(name: str) -> tuple[Program, tuple[Mapping[str, Any], ...]]:
    make, script = CALLS[name]
    call = simulate(make(), script, llm=LLM, tools=TOOLS)
    assert call.checkpoints
    return make(), call.checkpoints


def as_stored(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What comes back from a store."""
    read: dict[str, Any] = orjson.loads(orjson.dumps(checkpoint))
    return read


@pytest.mark.parametrize("name", CALLS)
def test_a_new_actor_goes_on_where_each_checkpoint_was_taken(name: str) -> None:
    program, checkpoints = checkpoints_of(name)
    for checkpoint in checkpoints:
        saved = as_stored(checkpoint)
        actor = Actor.restore(setup_of(World(llm=LLM)), program, saved, saved["sensitive"])
        for frame, restored in zip(saved["frames"], actor._context.frames, strict=True):
            assert restored.values.items() >= frame["values"].items()
        effects = actor.receive(LineOpened(WALL, resumed=True), saved["now_ms"] + 3000)
        entered = [
            effect.fact.node
            for effect in effects
            if isinstance(effect, Report) and isinstance(effect.fact, NodeEntered)
        ]
        frames = saved["frames"]
        assert entered[: len(frames)] == [frame["node"] for frame in frames]
        spoken = [effect.generation for effect in effects if isinstance(effect, Speak)]
        assert all(generation > saved["generation"] for generation in spoken), "of this epoch"
        assert not any(
            isinstance(effect, Report) and isinstance(effect.fact, CallBegan) for effect in effects
        )


@pytest.mark.parametrize("name", CALLS)
def test_a_checkpoint_of_a_restored_call_is_the_checkpoint_again(name: str) -> None:
    program, checkpoints = checkpoints_of(name)
    for checkpoint in checkpoints:
        saved = as_stored(checkpoint)
        actor = Actor.restore(setup_of(World(llm=LLM)), program, saved, saved["sensitive"])
        actor._journey.checkpoint()
        (effect,) = actor._context.take_effects()
        assert isinstance(effect, SaveCheckpoint)
        assert as_stored(effect.checkpoint) == saved


@pytest.mark.parametrize("name", CALLS)
def test_a_restored_call_ends_even_if_nobody_says_anything(name: str) -> None:
    program, checkpoints = checkpoints_of(name)
    for checkpoint in checkpoints:
        saved = as_stored(checkpoint)
        actor = Actor.restore(setup_of(World(llm=LLM)), program, saved, saved["sensitive"])
        now_ms = saved["now_ms"]
        facts = list(actor.receive(LineOpened(WALL, resumed=True), now_ms))
        for _ in range(MOST_TICKS):
            if actor.is_over:
                break
            due_ms = actor.deadline_ms
            assert due_ms is not None
            now_ms = max(now_ms, due_ms)
            facts += actor.receive(Ticked(), now_ms)
        assert actor.is_over
        ends = [e for e in facts if isinstance(e, Report) and isinstance(e.fact, CallEnded)]
        leaves_for_desk = actor.node == "desk"
        assert len(ends) == 1 or leaves_for_desk


@pytest.mark.parametrize("after", range(len(SHOPPING) + 1))
def test_a_line_that_breaks_at_any_time_does_not_change_the_end(after: int) -> None:
    script = [*SHOPPING[:after], Caller.loses_line(after_ms=200), *SHOPPING[after:]]
    if after == len(SHOPPING):
        # The yes was taken: he is at the goodbye, which is said again.
        script = [*SHOPPING, Caller.loses_line(after_ms=200)]
    if after == len(SHOPPING) - 1:
        # Seven was not confirmed, so it is asked for again.
        script = [*SHOPPING[:4], Caller.loses_line(), Caller.says("seven"), Caller.says("yes")]
    call = simulate(shop(), script)
    assert call.disposition == "sold"
    assert call.values["count"] == 7
    assert any(hop.by == "resume" for hop in call.path)
    for before, later in pairwise(call.path):
        assert later.by != "resume" or later.node == before.node


def test_a_tool_that_ran_is_not_run_again() -> None:
    call = simulate(desk(), [Caller.hears("I look you up"), Caller.hangs_up()], tools=TOOLS)
    checkpoint = next(
        as_stored(c) for c in call.checkpoints if any(t["outcome"] for t in c["tools"].values())
    )
    assert checkpoint["frames"][0]["node"] == "look"
    actor = Actor.restore(setup_of(World()), desk(), checkpoint)
    effects = actor.receive(LineOpened(WALL, resumed=True), checkpoint["now_ms"])
    assert not any(isinstance(effect, RunTool) for effect in effects)
    assert actor.values["tier"] == "gold"


def test_without_its_sensitive_values_a_call_asks_again() -> None:
    call = simulate(
        shop(),
        [Caller.says("secret"), Caller.presses("4711"), Caller.loses_line(), Caller.hangs_up()],
        keeps_sensitive=False,
    )
    assert "4711" not in str(call.journal)
    assert call.values.get("pin") is None


def test_after_a_transfer_the_call_goes_on_with_its_outcome() -> None:
    call = simulate(shop(), [Caller.says("person"), Caller.hears("For orders"), Caller.hangs_up()])
    checkpoint = next(as_stored(c) for c in call.checkpoints if c["frames"][0]["node"] == "desk")
    for outcome, next_node in (("busy", "choose"), ("done", "choose")):
        actor = Actor.restore(setup_of(World()), shop(), checkpoint)
        actor.receive(LineOpened(WALL, resumed=True), checkpoint["now_ms"])
        actor.receive(TransferEnded(outcome, "+33123456789"), checkpoint["now_ms"])  # type: ignore[arg-type]
        assert actor.node == next_node
