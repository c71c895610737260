"""What somebody outside may ask of a call that runs, as the call's actor takes it.

`command` is the id under which the call answers (`CommandAnswered`): once, whatever its state.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperatorSaid:
    """The bot is to say this, as soon as nobody else speaks.

    `cuts`: what the bot is saying then is dropped for it, unless nobody may break into that.
    """

    command: str
    text: str
    cuts: bool = False


@dataclass(frozen=True, slots=True)
class OperatorMoved:
    """The call is to go to this node of its flow, or of a flow around that."""

    command: str
    node: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OperatorTransferred:
    """The caller is to be joined with somebody else; several numbers are tried in order.

    `back`: the node at which the call goes on when the other side has left or nobody answered.
    Without it, the call ends after a conversation (`transferred`), and else goes on where it was.
    """

    command: str
    to: tuple[str, ...]
    say: str = ""
    back: str = ""
    ring_s: int = 25
    longest_s: int = 14_400
    caller_id: str = "caller"
    """The number that the other side sees: `caller`, `own`, or a number."""
    press: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OperatorEnded:
    """The call is to end; `say` are the last words, to the end."""

    command: str
    say: str = ""
    disposition: str = ""
    reason: str = ""


Command = OperatorSaid | OperatorMoved | OperatorTransferred | OperatorEnded
