"""What a Text becomes when it is rendered for the ear: parts, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """Words to synthesise. `static` fragments are the same in every call, so they are cached."""

    text: str
    static: bool


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A recording to play, named as in the flow; `words` is its transcript, if known."""

    file: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Composed:
    """The LLM is to say this; `prompt` is already rendered."""

    prompt: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence."""

    ms: int


Part = Words | AudioFile | Composed | Pause


def spoken_text(parts: tuple[Part, ...]) -> str:
    """The words of parts as one string, as they are sent to a voice or shown as text."""
    pieces = []
    for part in parts:
        match part:
            case Words(text):
                pieces.append(text)
            case AudioFile(_, words):
                pieces.append(words)
            case Pause():
                pieces.append(" ")
    return "".join(pieces).strip()
