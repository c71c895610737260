"""Recordings that flows play: WAV files beside a flow, and those that the engine carries.

Read once, kept as µ-law at 8000 Hz; `get` never reads a file, so a call plays at once what was
loaded before it began.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from flowengine.errors import FlowError
from flowengine.media.g711 import ULAW_RATE, linear_to_ulaw

OWN = {"@apology": "apology.ulaw"}
"""Names that begin with @ are the engine's own recordings."""

LONGEST_BYTES = 32 * 1024 * 1024
_PCM, _MULAW = 1, 7


class AudioFiles:
    """Recordings by the name that stands in a flow; `folders` are searched in order."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = tuple(folders)
        self._loaded: dict[str, bytes] = {
            name: resources.files("flowengine.media").joinpath("data", file).read_bytes()
            for name, file in OWN.items()
        }

    def get(self, name: str) -> bytes | None:
        """Audio that was loaded; None when it was not."""
        return self._loaded.get(name)

    async def load(self, name: str) -> bytes:
        """Audio of a file. Raises FlowError: `no_audio_file`, `bad_audio_file`."""
        audio = self._loaded.get(name)
        if audio is None:
            audio = await asyncio.to_thread(self._read, name)
            self._loaded[name] = audio
        return audio

    def _read(self, name: str) -> bytes:
        for folder in self._folders:
            path = (folder / name).resolve()
            if path.is_relative_to(folder.resolve()) and path.is_file():
                if path.stat().st_size > LONGEST_BYTES:
                    raise _bad(name, "it is larger than 32 MiB")
                return ulaw_of_wav(path.read_bytes(), name)
        raise FlowError(
            "no_audio_file",
            f"There is no recording {name!r} beside the flow.",
            where=name,
            fix="Put the WAV file into the flow's folder.",
        )


def ulaw_of_wav(data: bytes, name: str = "") -> bytes:
    """The samples of a mono WAV, µ-law or 16-bit PCM at 8000 Hz, as µ-law."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _bad(name, "it is no WAV file")
    place, coding = 12, None
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        body = data[place + 8 : place + 8 + size]
        if kind == b"fmt " and len(body) >= 16:
            coding = _coding(body, name)
        elif kind == b"data":
            if coding is None:
                break
            return body if coding == _MULAW else linear_to_ulaw(body[: len(body) & ~1])
        place += 8 + size + size % 2
    raise _bad(name, "it has no samples")


def _coding(head: bytes, name: str) -> int:
    coding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head)
    if channels != 1 or rate != ULAW_RATE:
        raise _bad(name, f"it has {channels} channels at {rate} Hz")
    if (coding, bits) not in ((_PCM, 16), (_MULAW, 8)):
        raise _bad(name, "it is neither 16-bit PCM nor µ-law")
    return int(coding)


def _bad(name: str, why: str) -> FlowError:
    return FlowError(
        "bad_audio_file",
        f"The recording {name!r} cannot be played: {why}.",
        where=name,
        fix="Save it as WAV, mono, 8000 Hz, 16-bit PCM or µ-law.",
    )
