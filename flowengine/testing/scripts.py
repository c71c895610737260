"""What a simulated caller does, step by step, and scripts of it in a text file.

`Caller` makes the steps that tests write. The same as a file, one step a line:

    # a remark
    < How can I help         the caller waits until he has heard this
    I want to book           he says this, once it is his turn
    123                      he presses keys (or #1 * 0 …: what follows the first #)
    ! stop after 800ms       he breaks in so long after the bot began to speak
    ...                      he stays silent until the bot speaks again
    ... 12s                  he stays silent for so long
    hang up
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flowengine.errors import FlowengineError
from flowengine.events import Json


class ScriptError(FlowengineError):
    """A script's line cannot be read."""


@dataclass(frozen=True, slots=True)
class Hears:
    """Wait until the bot has said this; case, punctuation and spaces do not count."""

    text: str


@dataclass(frozen=True, slots=True)
class Says:
    """Speak, once the bot has finished."""

    text: str
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Hesitates:
    """Speak, once the bot has finished, stop for a moment, and go on with the same sentence."""

    text: str
    rest: str
    pause_ms: int = 600
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class BreaksIn:
    """Speak so long after the bot begins to, or goes on to, speak; `after_words` counts words."""

    text: str
    after_ms: int = 800
    after_words: int | None = None
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Presses:
    """Press keys, once the bot has finished, or so long after it begins to speak."""

    keys: str
    after_ms: int | None = None
    between_ms: int = 250


@dataclass(frozen=True, slots=True)
class Coughs:
    """A noise of this length without words, so long after the bot begins to speak."""

    noise_ms: int = 150
    after_ms: int | None = 800


@dataclass(frozen=True, slots=True)
class Silent:
    """Do nothing: for a time, or until the bot speaks again."""

    for_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HangsUp:
    """Hang up, once the bot has finished, or so long after it begins to speak."""

    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LosesLine:
    """The media stream breaks and the carrier opens a new one: the call resumes."""

    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody else resumes the call that waits under `name`."""

    name: str
    body: Json = None


Step = (
    Hears | Says | Hesitates | BreaksIn | Presses | Coughs | Silent | HangsUp | LosesLine | Webhook
)


class Caller:
    """The steps of a simulated caller, by the names that read well in a test."""

    hears = Hears
    says = Says
    hesitates = Hesitates
    breaks_in = BreaksIn
    presses = Presses
    coughs = Coughs
    silent = Silent
    hangs_up = HangsUp
    loses_line = LosesLine
    webhook = Webhook


_KEYS = re.compile(r"#?[0-9*#]+")
_AFTER = re.compile(
    r"(?P<text>.+?)\s+after\s+(?P<number>\d+)\s*(?P<unit>ms|s|words?)", re.IGNORECASE
)
_TIME = re.compile(r"(?P<number>\d+)\s*(?P<unit>ms|s|m)")
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000}


def read_script(source: str) -> Iterator[Step]:
    """The steps of a script file. Raises ScriptError."""
    for number, line in enumerate(source.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("# ") or words == "#!":
            continue
        try:
            yield read_step(words)
        except ValueError as error:
            raise ScriptError(
                "bad_script",
                str(error),
                where=f"line {number}",
                fix="See `flowengine call --help` for what a line may say.",
            ) from error


def read_step(words: str) -> Step:
    """One line of a script, or of the keyboard. Raises ValueError."""
    if words.startswith("<"):
        return Hears(words[1:].strip())
    if words.startswith("..."):
        rest = words[3:].strip()
        return Silent(_time_ms(rest) if rest else None)
    if words.casefold() in ("hang up", "hangup"):
        return HangsUp()
    if words.startswith("!"):
        return _break_in(words[1:].strip())
    if _KEYS.fullmatch(words):
        is_marked = words.startswith("#") and len(words) > 1
        return Presses(words[1:] if is_marked else words)
    return Says(words)


def _break_in(words: str) -> BreaksIn:
    found = _AFTER.fullmatch(words)
    if found is None:
        if not words:
            raise ValueError("What does the caller break in with? Write: ! words after 800ms")
        return BreaksIn(words)
    amount, unit = int(found["number"]), found["unit"].casefold()
    if unit.startswith("word"):
        return BreaksIn(found["text"], after_words=amount)
    return BreaksIn(found["text"], after_ms=amount * _UNITS_MS[unit])


def _time_ms(words: str) -> int:
    found = _TIME.fullmatch(words)
    if found is None:
        raise ValueError(f"{words!r} is no time; write 12s.")
    return int(found["number"]) * _UNITS_MS[found["unit"]]
