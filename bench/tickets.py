"""Ticket numbers that tie an answer to the utterance it answers, through words and sound.

A caller's utterance sounds its ticket as two pitches, one after the other; the fake recogniser
hears the number, the fake LLM repeats it in every sentence, and the fake voice sounds it again. So
what a caller hears tells which of his utterances it answers, or that it answers somebody else.
"""

from __future__ import annotations

import re

import numpy as np

from flowengine.media.g711 import ULAW_SAMPLES
from flowengine.ports import BYTES_PER_MS
from flowengine.testing.phone_audio import FRAME_BYTES, is_audible
from flowengine.testing.providers.speech import TAGS, speech

TICKETS = TAGS * TAGS
HEAD_MS = 120
"""The first pitch lasts so long, the rest is the second."""

_LOOK_MS = 60
_HEAD_AT_MS = 40
_TAIL_AT_MS = HEAD_MS + 40
_LOWEST_HZ, _STEP_HZ = 300, 50
_QUIET_BELOW = 400
_BIN_HZ = 1000 / _LOOK_MS
_SAMPLES = np.array(ULAW_SAMPLES, dtype=np.float64)
_NUMBER = re.compile(r"\b(\d{4})\b")


def sounding(ticket: int, duration_ms: int) -> bytes:
    """Speech-like µ-law audio that carries a ticket, in its first 240 ms."""
    first, second = divmod(ticket, TAGS)
    head_ms = min(HEAD_MS, duration_ms)
    return speech(head_ms, first) + speech(duration_ms - head_ms, second)


def heard(audio: bytes) -> int | None:
    """The ticket that audio carries, looked for from its first loud frame on."""
    for at in range(0, len(audio), FRAME_BYTES):
        if is_audible(audio[at : at + FRAME_BYTES]):
            break
    else:
        return None
    first, second = _pitch(audio, at, _HEAD_AT_MS), _pitch(audio, at, _TAIL_AT_MS)
    return None if first is None or second is None else first * TAGS + second


def caller_says(ticket: int) -> str:
    """The transcript of an utterance."""
    return f"My ticket is {ticket:04d} please."


def agent_says(ticket: int) -> str:
    """The LLM's answer. It begins with the ticket, so that its first clause has it wherever cut."""
    return f"{ticket:04d} is your ticket number. We will call you about {ticket:04d} tomorrow."


def named_in(text: str) -> int | None:
    """The last ticket that a text names."""
    found = _NUMBER.findall(text)
    return int(found[-1]) if found else None


def _pitch(audio: bytes, at: int, after_ms: int) -> int | None:
    """Which of the pitches sounds there; None when it is quiet or the audio ends before."""
    start = at + after_ms * BYTES_PER_MS
    window = audio[start : start + _LOOK_MS * BYTES_PER_MS]
    if len(window) < _LOOK_MS * BYTES_PER_MS:
        return None
    samples = _SAMPLES[np.frombuffer(window, dtype=np.uint8)]
    if np.abs(samples).max() < _QUIET_BELOW:
        return None
    power = np.abs(np.fft.rfft(samples))
    bins = [round((_LOWEST_HZ + _STEP_HZ * tag) / _BIN_HZ) for tag in range(TAGS)]
    return int(np.argmax(power[bins]))
