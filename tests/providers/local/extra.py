"""What the tests of local speech share: the extra's presence, sentences as callers, a fake line."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from flowengine.media.g711 import silence
from flowengine.providers.local.install import HEARING, SPEAKING

if TYPE_CHECKING:
    from flowengine.providers.local.moonshine import Moonshine
    from flowengine.providers.local.voice import Hibari

MISSING = sorted(name for name in {*HEARING, *SPEAKING} if find_spec(name) is None)

needs_models = pytest.mark.skipif(
    bool(MISSING), reason=f"the extra `local` is not installed: {', '.join(MISSING)}"
)


@cache
def voice() -> Hibari:
    """The voice that speaks for the callers."""
    from flowengine.providers.local.voice import Hibari

    return Hibari()


@cache
def model() -> Moonshine:
    """The recogniser, shared by all tests of a process."""
    from flowengine.providers.local.moonshine import shared
    from flowengine.providers.local.weights import moonshine_folder

    return shared(moonshine_folder())


@cache
def caller(text: str) -> bytes:
    """A caller's µ-law: a second of silence, the sentence, a second and a half of silence."""
    return silence(1000) + voice().speak(text, 1.0).ulaw + silence(1500)


def pcm16k(text: str) -> bytes:
    """A sentence over the phone, at the recogniser's rate."""
    from flowengine.media.g711 import ulaw_to_linear
    from flowengine.media.resample import resample

    return resample(ulaw_to_linear(voice().speak(text, 1.0).ulaw), 8000, 16000)
