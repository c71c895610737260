"""Keeps what a model thinks aloud from being spoken: the `<think>…</think>` that opens its answer.

Open models (DeepSeek R1, Qwen, on Groq, Ollama, vLLM) write their reasoning into the answer's text,
in front of it, unless their host takes it out. Pure.
"""

from __future__ import annotations

_OPENS, _CLOSES = "<think>", "</think>"


class ThoughtFilter:
    """What is to be said of one answer, piece by piece."""

    def __init__(self) -> None:
        self._held = ""
        """The beginning of the answer, or of the closing tag, while it may still be one."""
        self._state = "begins"
        """`begins`, `thinks`, then `speaks`."""

    def push(self, text: str) -> str:
        """Take more of the answer; what of it is to be said."""
        if self._state == "speaks":
            return text
        self._held += text
        if self._state == "begins":
            opening = self._held.lstrip()
            if opening.startswith(_OPENS):
                self._state = "thinks"
            elif _OPENS.startswith(opening):
                return ""
            else:
                return self._speak(self._held)
        at = self._held.find(_CLOSES)
        if at >= 0:
            return self._speak(self._held[at + len(_CLOSES) :].lstrip())
        self._held = self._held[-len(_CLOSES) :]
        return ""

    def finish(self) -> str:
        """The answer is complete: what was held back and is no thought."""
        return self._speak(self._held) if self._state == "begins" else ""

    def _speak(self, text: str) -> str:
        self._state, self._held = "speaks", ""
        return text
