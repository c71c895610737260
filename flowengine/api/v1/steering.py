"""Acting on calls that run: to say something, go to a node, transfer, end."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import Field

from flowengine.api.access import CallMaker
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import Service, TheService
from flowengine.api.texts import PlainText
from flowengine.commands import (
    Command,
    OperatorEnded,
    OperatorMoved,
    OperatorSaid,
    OperatorTransferred,
)
from flowengine.errors import CallError
from flowengine.events import Json
from flowengine.ids import CallId
from flowengine.runtime.lifecycle import FINAL
from flowengine.store.audit import note
from flowengine.store.call_queries import get_call
from flowengine.store.identities import new_id
from flowengine.store.keys import Holder

router = group("calls")

CallPath = Annotated[str, Path(pattern=r"^call_[A-Za-z0-9_]{1,60}$")]
Words = Annotated[PlainText, Field(max_length=2000)]
Reason = Annotated[PlainText, Field(max_length=200)]
NodeName = Annotated[PlainText, Field(max_length=100)]
Address = Annotated[
    str, Field(pattern=r"^(\+[1-9][0-9]{5,14}|sips?:[A-Za-z0-9_.!~*'()&=+$,;?/%@:-]{1,200})$")
]
"""A number, or a SIP address."""


class Say(Body):
    """What the bot is to say."""

    text: Annotated[PlainText, Field(min_length=1, max_length=2000)] = Field(
        examples=["One of us will call you back today."]
    )
    interrupt: bool = Field(
        default=False,
        description="Whether what the bot is saying is dropped for it. Words that nobody may break"
        " into are not.",
    )


class Move(Body):
    """Where the call is to go."""

    node: NodeName = Field(min_length=1, examples=["message"])
    reason: Reason = Field(default="", description="Stands in the record of the call's way.")


class Transfer(Body):
    """Whom the caller is to be joined with."""

    to: list[Address] = Field(
        min_length=1, max_length=10, examples=[["+33123456789"]], description="Tried in order."
    )
    say: Words = Field(default="", description="Said to the caller before.")
    back: NodeName = Field(
        default="",
        description="The node at which the call goes on when the other side has left, or nobody"
        " answered. Without it the call ends after a conversation (`transferred`); when nobody"
        " answered it goes on where it was.",
    )
    ring_s: int = Field(default=25, ge=5, le=600)
    longest_s: int = Field(default=14_400, ge=1, le=86_400)
    show: Annotated[str, Field(pattern=r"^(caller|own|\+[1-9][0-9]{5,14})$")] = Field(
        default="caller", description="The number that the other side sees."
    )
    press: Annotated[str, Field(pattern=r"^[0-9*#wW]{0,32}$")] = Field(
        default="", description="Keys sent after the answer; `w` waits half a second."
    )
    reason: Reason = ""


class End(Body):
    """How the call is to end."""

    say: Words = Field(default="", description="The last words; nobody can break into them.")
    disposition: Annotated[PlainText, Field(max_length=60)] = Field(
        default="", examples=["abuse"], description="What came of the call; empty: `ended`."
    )
    reason: Reason = ""


class Taken(Body):
    """The call does it."""

    call: str
    command: str = Field(description="Its id in the call's journal.")


@router.post("/calls/{call_id}/say", responses=refusals(404, 409, 504))
async def say(service: TheService, by: CallMaker, call_id: CallPath, body: Say) -> Taken:
    """Let the bot say something, as soon as the caller does not speak.

    The answer comes when the call has taken it, not when it was heard.
    """
    command = OperatorSaid(_new_command(service), body.text, cuts=body.interrupt)
    return await _asked(service, by, call_id, command, {})


@router.post("/calls/{call_id}/move", responses=refusals(404, 409, 504))
async def move(service: TheService, by: CallMaker, call_id: CallPath, body: Move) -> Taken:
    """Let the call go to a node, as by an edge."""
    command = OperatorMoved(_new_command(service), body.node, body.reason)
    return await _asked(service, by, call_id, command, {"node": body.node, "reason": body.reason})


@router.post("/calls/{call_id}/transfer", responses=refusals(404, 409, 504))
async def transfer(service: TheService, by: CallMaker, call_id: CallPath, body: Transfer) -> Taken:
    """Join the caller with somebody else."""
    command = OperatorTransferred(
        _new_command(service),
        tuple(body.to),
        body.say,
        body.back,
        body.ring_s,
        body.longest_s,
        body.show,
        body.press,
        body.reason,
    )
    return await _asked(service, by, call_id, command, {"back": body.back, "reason": body.reason})


@router.post("/calls/{call_id}/end", responses=refusals(404, 409, 502, 504))
async def end(service: TheService, by: CallMaker, call_id: CallPath, body: End) -> Taken:
    """End the call; one that still rings is not put through any more."""
    command = OperatorEnded(_new_command(service), body.say, body.disposition, body.reason)
    detail: dict[str, Json] = {"disposition": body.disposition, "reason": body.reason}
    return await _asked(service, by, call_id, command, detail)


def _new_command(service: Service) -> str:
    return new_id("cmd", service.now())


async def _asked(
    service: Service, by: Holder, call_id: str, command: Command, detail: dict[str, Json]
) -> Taken:
    """Ask the call, whichever process holds it; log that it was asked and did it."""
    row = await running_call(service, by, call_id)
    supervisor = service.engine.supervisor
    if row.status == "in_progress" or supervisor.held(CallId(call_id)) is not None:
        try:
            refused = await supervisor.reach.ask(by.project_id, CallId(call_id), command)
        except CallError as error:
            raise Refused(504, error.code, error.what, where=error.where, fix=error.fix) from error
    elif isinstance(command, OperatorEnded):
        # Nobody of ours is on the line: the carrier ends it.
        try:
            await service.engine.placing.end(CallId(call_id), command.disposition)
        except CallError as error:
            raise Refused(409, error.code, error.what, where=error.where, fix=error.fix) from error
        refused = ""
    else:
        refused = "call_is_away" if row.status == "transferring" else "call_not_answered"
    if refused:
        raise _refusal(refused, call_id)
    async with service.database.writing(by.project_id) as session:
        action = f"call.{_ACTIONS[type(command)]}"
        told = {"command": command.command, **detail}
        note(session, by, service.now(), action, f"call/{call_id}", told)
    return Taken(call=call_id, command=command.command)


async def running_call(service: Service, by: Holder, call_id: str) -> Any:
    """The row of a call that is not over. Raises Refused: 404, 409."""
    async with service.database.reading(by.project_id) as session:
        row = await get_call(session, by.project_id, call_id)
    if row is None:
        raise not_found("call", call_id)
    if row.status in FINAL:
        raise _refusal("call_is_over", call_id)
    return row


_ACTIONS = {
    OperatorSaid: "said",
    OperatorMoved: "moved",
    OperatorTransferred: "transferred",
    OperatorEnded: "ended",
}
_REFUSALS = {
    "call_is_over": ("The call is over.", ""),
    "call_is_ending": ("The call is about to end.", ""),
    "call_is_away": (
        "The caller is joined with somebody else: no bot is on the line.",
        "Wait until the call is back, or end it.",
    ),
    "call_not_answered": ("Nobody has answered the call yet.", "Wait for that, or end it."),
    "caller_left": ("The caller has left; the flow only does what is left to do.", ""),
    "in_transfer": ("How a transfer went is being told.", "Ask again in a moment."),
    "unknown_node": (
        "No flow that the call runs has this node.",
        "GET /v1/calls/{call_id} says which version of which flow it is.",
    ),
    "unknown_command": (
        "The process that holds the call is of another version and does not know this.",
        "Ask again when all processes are of one version.",
    ),
}


def _refusal(code: str, call_id: str) -> Refused:
    what, fix = _REFUSALS[code]
    return Refused(409, code, what, where=call_id, fix=fix)
