"""What the caller said in his last turn, as sound: for an LLM that hears.

Pure. A turn goes from the end of the one before to now, without the quiet around it; asked for
again in the same turn (a tool's round, a turn that went on), it has grown.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from flowengine.flow.program import Program
from flowengine.ids import NodeId
from flowengine.ports import BYTES_PER_MS
from flowengine.runtime.context import ServerDefaults
from flowengine.runtime.services import Vendors

LONGEST_BYTES: Final = 60_000 * BYTES_PER_MS
"""Of a longer turn the end is kept."""
AROUND_BYTES: Final = 300 * BYTES_PER_MS
"""Quiet that is left around speech: its first and last sounds are soft."""
_FRAME: Final = 20 * BYTES_PER_MS
_LOUD: Final = 0x35
"""A frame with µ-law magnitudes above this somewhere, about -36 dBFS, holds speech."""


class TurnAudio:
    """The caller's audio of a call, as far back as the turn that is answered."""

    def __init__(self) -> None:
        self._audio = bytearray()
        self._turn = -1
        self._taken = 0
        """How much of the audio was taken for the turn that was asked for last."""

    def caller(self, audio: bytes) -> None:
        """Take audio, in order."""
        self._audio += audio
        if len(self._audio) > 2 * LONGEST_BYTES:
            gone = len(self._audio) - LONGEST_BYTES
            del self._audio[:gone]
            self._taken = max(0, self._taken - gone)

    def of_turn(self, turn: int) -> bytes:
        """The audio of the turn of this number; turns count up."""
        if turn != self._turn:
            del self._audio[: self._taken]
            self._turn = turn
        self._taken = len(self._audio)
        return spoken_part(bytes(self._audio[-LONGEST_BYTES:]))


def spoken_part(audio: bytes) -> bytes:
    """µ-law without the quiet before and after; empty when nobody speaks in it."""
    whole = len(audio) // _FRAME * _FRAME
    if not whole:
        return b""
    # µ-law counts down from 0x7F to 0 as it gets louder; the sign is the top bit.
    loudness = 0x7F - (np.frombuffer(audio[:whole], np.uint8) & 0x7F)
    loud = np.flatnonzero(loudness.reshape(-1, _FRAME).max(axis=1) > _LOUD)
    if not loud.size:
        return b""
    start = max(0, int(loud[0]) * _FRAME - AROUND_BYTES)
    return audio[start : (int(loud[-1]) + 1) * _FRAME + AROUND_BYTES]


def hears_caller(program: Program, server: ServerDefaults, vendors: Vendors) -> bool:
    """Whether an LLM of a flow, or of one that it calls, hears the caller itself."""
    for name, node in program.flow.nodes.items():
        llm = program.settings(NodeId(name)).llm or server.llm
        if node.thinks and llm is not None and vendors.hears(llm):
            return True
    return any(hears_caller(inner, server, vendors) for inner in program.subflows.values())
