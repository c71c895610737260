"""Speech that comes as the bare body of an HTTP answer, which has no word for what goes wrong.

Whether it is audio at all is told by its type, whether it is all of it by its length alone: a body
that ended in good order may still have been cut by whoever stands between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flowengine.ports import BYTES_PER_MS
from flowengine.providers.alignment import MS_A_CHARACTER
from flowengine.providers.faults import fault

_NO_AUDIO: Final = ("text/", "application/json", "application/problem")
_LEAST_PART: Final = 0.4
"""Of the ordinary time for a text: nobody speaks so fast, whatever speed was asked for."""
_SURE_CHARACTERS: Final = 12
"""A shorter text may be said in no time."""


def check_audio(headers: Mapping[str, str], provider: str) -> None:
    """Raise ProviderError(`protocol`) for an answer that says of itself that it is no audio."""
    if headers.get("content-type", "").lower().startswith(_NO_AUDIO):
        raise fault("protocol", "answered with something that is no audio", provider)


class Length:
    """How much µ-law came of a text; `speed` is how much faster than usual it was asked for."""

    def __init__(self, text: str, speed: float = 1.0) -> None:
        self._characters = sum(map(str.isalnum, text))
        self._speed = max(1.0, speed)
        self._bytes = 0

    def add(self, audio_bytes: int) -> None:
        self._bytes += audio_bytes

    def check(self, provider: str) -> None:
        """It is over. Raises ProviderError: `protocol` for none, `dropped` for too little."""
        if not self._characters:
            return
        if not self._bytes:
            raise fault("protocol", "answered without audio", provider)
        least_ms = self._characters * MS_A_CHARACTER * _LEAST_PART / self._speed
        if self._characters >= _SURE_CHARACTERS and self._bytes < least_ms * BYTES_PER_MS:
            raise fault("dropped", "broke off in the middle", provider)
