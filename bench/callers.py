"""Makes the callers of `accuracy_local`: synthetic and recorded voices on a phone line."""

from __future__ import annotations

import gzip
import random
import re
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowengine.media.g711 import linear_to_ulaw, silence, ulaw_to_linear
from flowengine.media.resample import resample
from flowengine.providers.local.voice import Hibari

SEED = 0
PROMPTS = 60

HUMAN = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
"""Debian's asterisk-core-sounds-en-wav: one professional speaker, 8000 Hz."""

TRANSCRIPTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")

Samples = NDArray[np.float64]


class Studio:
    """Makes the callers."""

    def __init__(self) -> None:
        self._voice = Hibari()
        self._noise = np.random.default_rng(SEED)
        self._filter = _band_pass()

    def say(self, text: str, speed: float = 1.0) -> Samples:
        """A sentence at 8 kHz (the voice's own audio, before anything is done to it)."""
        return _samples(self._voice.speak(text, speed).ulaw)

    def babble(self, sentences: Iterable[str]) -> Samples:
        """People who talk over each other, without end (it is repeated)."""
        talk = [self.say(text, 0.9 + 0.05 * n) for n, text in enumerate(sentences)]
        length = max(map(len, talk))
        result: Samples = np.sum([np.resize(one, length) for one in talk], axis=0)
        return result

    def line(self, samples: Samples) -> bytes:
        """As the phone network carries it."""
        narrow = np.convolve(samples, self._filter, mode="same")
        return silence(1000) + linear_to_ulaw(_pcm(narrow)) + silence(1000)

    def channels(self, text: str, babble: Samples) -> dict[str, bytes]:
        """One sentence over the three channels."""
        clean = self.say(text)
        start = int(self._noise.integers(len(babble)))
        noise = np.resize(np.roll(babble, start), len(clean))
        level = np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-20 / 20)
        return {
            "clean": self.line(clean),
            "noise": self.line(clean + level * noise),
            "quick": self.line(self.say(text, 1.15) * 10 ** (-10 / 20)),
        }


def _band_pass() -> Samples:
    """301 taps, 300 to 3400 Hz at 8000 Hz (Hamming)."""
    at = np.arange(-150, 151)
    low, high = 2 * 300 / 8000, 2 * 3400 / 8000
    taps = high * np.sinc(high * at) - low * np.sinc(low * at)
    result: Samples = taps * np.hamming(len(at))
    return result


def _samples(ulaw: bytes) -> Samples:
    return np.frombuffer(ulaw_to_linear(ulaw), dtype="<i2").astype(np.float64)


def _pcm(samples: Samples) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()


def human_digits(string: str, gaps: random.Random) -> Samples:
    """Recorded digits one after the other."""
    parts: list[Samples] = []
    for digit in string:
        parts.append(_recording(HUMAN / "digits" / f"{digit}.wav"))
        parts.append(np.zeros(8 * gaps.randint(100, 250)))
    return np.concatenate(parts)


def human_prompts() -> list[tuple[str, Samples]]:
    """Recorded sentences of 3 to 12 words with their texts, drawn by the seed; none if absent."""
    if not TRANSCRIPTS.is_file() or not HUMAN.is_dir():
        return []
    found: list[tuple[str, Path]] = []
    for line in gzip.decompress(TRANSCRIPTS.read_bytes()).decode(errors="replace").splitlines():
        name, _, text = line.partition(": ")
        path = HUMAN / f"{name}.wav"
        is_plain = re.fullmatch(r"[A-Za-z' ,.?!-]+", text) and "..." not in text
        if is_plain and 3 <= len(text.split()) <= 12 and path.is_file():
            found.append((text, path))
    drawn = random.Random(SEED).sample(sorted(found), min(PROMPTS, len(found)))
    return [(text, _recording(path)) for text, path in drawn]


def _recording(path: Path) -> Samples:
    with wave.open(str(path)) as file:
        pcm, rate = file.readframes(file.getnframes()), file.getframerate()
    return np.frombuffer(resample(pcm, rate, 8000), dtype="<i2").astype(np.float64)
