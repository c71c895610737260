"""What the engine says of its own accord, by language; authors write everything else."""

from __future__ import annotations

from flowengine.flow.parts import Part, Words

_CUT_OFF = {
    "en": "Sorry, we were cut off.",
    "de": "Entschuldigung, wir wurden unterbrochen.",
    "fr": "Désolé, nous avons été coupés.",
    "es": "Perdón, se ha cortado.",
    "nl": "Sorry, de verbinding werd verbroken.",
}
_ONE_MOMENT = {
    "en": "One moment, please.",
    "de": "Einen Moment, bitte.",
    "fr": "Un instant, s'il vous plaît.",
    "es": "Un momento, por favor.",
    "nl": "Een ogenblik, alstublieft.",
}


def one_moment(language: str) -> str:
    """Said when an answer is late."""
    return _ONE_MOMENT.get(language.partition("-")[0].lower(), _ONE_MOMENT["en"])


def cut_off(language: str) -> tuple[Part, ...]:
    """Said when a call goes on after a crash or a hand-over."""
    words = _CUT_OFF.get(language.partition("-")[0].lower(), _CUT_OFF["en"])
    return (Words(words, static=True),)
