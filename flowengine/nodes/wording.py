"""Words that kinds share: who opens, Texts as plain strings, and what we say of our own accord.

The built-in phrases exist for the languages of `flow.aloud`; other languages hear English, and
an author who wants other words writes them (`confirm`, `say`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowengine.events import Json
from flowengine.flow import aloud
from flowengine.flow.parts import Part, Pause, Words
from flowengine.flow.types import Text
from flowengine.nodes.stage import Stage

BETWEEN_MS = 250
"""Between two Texts that are said in one breath."""


def comes_back(stage: Stage) -> bool:
    """Whether the call is here again by `@back`: then nothing is opened a second time."""
    return stage.entered_by == "back"


def opens(stage: Stage) -> bool:
    """Whether the node opens at all: not after a crash, and not a second time."""
    return not (stage.resumed or comes_back(stage) or stage.entered_by == "resume")


async def say_all(
    stage: Stage, text: Text | None, *, interruptible: bool, is_notice: bool = False
) -> None:
    """Say words that a caller must not miss: after a crash too, since nobody knows what he heard.

    The stage puts its own sentence in the place of a resumed node's first words; so it is given
    that place first.
    """
    if stage.resumed:
        await stage.say((), interruptible=interruptible)
    parts = stage.text(text)
    if parts:
        await stage.say(parts, interruptible=interruptible, is_notice=is_notice)


def joined(*said: tuple[Part, ...]) -> tuple[Part, ...]:
    """Several Texts one after the other, with a short pause between."""
    parts: tuple[Part, ...] = ()
    for more in said:
        between = (Pause(BETWEEN_MS),) if parts and more else ()
        parts = (*parts, *between, *more)
    return parts


def written(stage: Stage, text: Text | None) -> str:
    """A Text that is not spoken: a prompt, a message, a number to dial."""
    if text is None:
        return ""
    return stage.string(text)


def language_of(stage: Stage) -> str:
    """The language that the call is in now, such as en-US."""
    return str(stage.evaluate("language") or "en-US")


def evaluated(stage: Stage, expressions: Mapping[str, str]) -> dict[str, Json]:
    """Each expression's value; what is unset is null."""
    return {name: stage.evaluate(expression) for name, expression in expressions.items()}


def spoken_value(value: Json, language: str) -> str:
    """A value as one reads it back: digits singly, dates and times in words."""
    if isinstance(value, (list, tuple)):
        return ", ".join(spoken_value(item, language) for item in value)
    if not isinstance(value, str):
        return _of(language).booleans[value] if isinstance(value, bool) else str(value)
    if re.fullmatch(r"\+?\d+", value):
        return aloud.digits(value)
    day, _, clock = value.partition("T")
    if re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?", value):
        return ", ".join(filter(None, (aloud.date(day, language), _clock(clock, language))))
    return _clock(value, language) if re.fullmatch(r"\d\d:\d\d(:\d\d)?", value) else value


def _clock(value: str, language: str) -> str:
    return aloud.time(value, language) if value else ""


@dataclass(frozen=True, slots=True)
class _Phrases:
    right: str
    """Reads a value back for a yes or no, by voice or key."""
    right_by_key: str
    offer: str
    """Offers an element of a list by key."""
    yes: tuple[str, ...]
    no: tuple[str, ...]
    booleans: Mapping[bool, str]


_PHRASES = {
    "en": _Phrases(
        "I have {value}. Is that right?",
        "I have {value}. If that is right, press 1. If not, press 2.",
        "For {name}, press {key}.",
        ("yes", "correct", "that's right"),
        ("no", "wrong", "that's not right"),
        {True: "yes", False: "no"},
    ),
    "de": _Phrases(
        "Ich habe {value}. Ist das richtig?",
        "Ich habe {value}. Wenn das richtig ist, drücken Sie die 1, sonst die 2.",
        "Für {name} drücken Sie die {key}.",
        ("ja", "richtig", "das stimmt"),
        ("nein", "falsch", "das stimmt nicht"),
        {True: "ja", False: "nein"},
    ),
    "fr": _Phrases(
        "J'ai {value}. Est-ce exact ?",
        "J'ai {value}. Si c'est exact, tapez 1, sinon tapez 2.",
        "Pour {name}, tapez {key}.",
        ("oui", "exact", "c'est ça"),
        ("non", "faux", "pas du tout"),
        {True: "oui", False: "non"},
    ),
    "es": _Phrases(
        "Tengo {value}. ¿Es correcto?",
        "Tengo {value}. Si es correcto, pulse 1; si no, pulse 2.",
        "Para {name}, pulse {key}.",
        ("sí", "correcto", "así es"),
        ("no", "incorrecto", "no es correcto"),
        {True: "sí", False: "no"},
    ),
    "nl": _Phrases(
        "Ik heb {value}. Klopt dat?",
        "Ik heb {value}. Als dat klopt, toets 1, anders toets 2.",
        "Voor {name}, toets {key}.",
        ("ja", "klopt", "dat is juist"),
        ("nee", "klopt niet", "onjuist"),
        {True: "ja", False: "nee"},
    ),
}


def _of(language: str) -> _Phrases:
    return _PHRASES.get(language.partition("-")[0].lower(), _PHRASES["en"])


def read_back(value: str, language: str, *, voice: bool) -> tuple[Part, ...]:
    """The built-in question whether a value is right."""
    phrases = _of(language)
    form = phrases.right if voice else phrases.right_by_key
    return (Words(form.format(value=value), static=False),)


def offers(elements: Sequence[tuple[str, str]], language: str) -> tuple[Part, ...]:
    """Offer elements: each one's name with its key, "" where it has none."""
    form = _of(language).offer
    lines = [form.format(name=name, key=key) if key else f"{name}." for name, key in elements]
    return (Words(" ".join(lines), static=False),)


def yes_words(language: str) -> tuple[str, ...]:
    """Words that mean yes, beside what `spoken.yes_no` understands."""
    return _of(language).yes


def no_words(language: str) -> tuple[str, ...]:
    """Words that mean no."""
    return _of(language).no
