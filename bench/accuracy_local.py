"""How well local speech hears callers, through the engine's own path.

Callers are put on a phone line (300-3400 Hz, 8000 Hz, µ-law) and fed to the local recogniser's
session in frames of 20 ms, as a carrier sends them. What the session says goes to the engine's
own matcher and digit grammar. Prints what the callers are, tables of the results, CPU time and
memory; exits 1 when a bar is missed:

    word error rate <= 10 %, digit strings >= 18 of 20, routed >= 38 of 42

Run from the repository's root: `python -m bench.accuracy_local`. Needs the extra `local`. Human
digits are used as well when Debian's `asterisk-core-sounds-en-wav` is installed.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from bench.callers import HUMAN, SEED, Studio, human_digits, human_prompts
from flowengine.events import EndpointReached, SegmentHeard
from flowengine.flow.matcher import Matcher
from flowengine.flow.spoken import digits as spoken_digits
from flowengine.media.g711 import silence
from flowengine.ports import SttEvent, SttHints, SttRequest
from flowengine.providers.local.stt import LocalStt
from flowengine.providers.local.worker import HEARING

WER_BAR = 0.10
DIGITS_BAR = 18
ROUTING_BAR = 38
ENDPOINTING_MS = 300
"""The engine's default."""

CALLERS = Path(__file__).parent / "data" / "callers.json"
FRAME_BYTES = 160
STRINGS = 20

ABOUT = """Callers
  sentences   30 (14 menu sentences over 8 routes, 16 answers), spoken by the synthetic voice that
              flowengine itself speaks with ("heart", American English, one woman). No human.
  channels    clean: as it is
              noise: six other sentences of the same voice talked over each other, 20 dB below
              quick: 1.15 times as fast and 10 dB quieter
  digits      20 strings of 4 to 7 digits (seed 0): synthetic, read digit by digit with commas
              left out; and human where the recordings are installed: one professional speaker
              (Asterisk's English prompts), single digits spliced with 100 to 250 ms between
  prompts     60 recorded sentences of 3 to 12 words of that speaker (for information, no bar)
  line        300-3400 Hz band-pass, 8000 Hz, µ-law, 20 ms frames, 1 s of silence before and after
A synthetic voice is easier to hear than most people: take the first two tables as an upper bound.
"""


class Document(TypedDict):
    """The file of callers: phrases of each route, menu sentences with theirs, other sentences."""

    routes: dict[str, list[str]]
    menu: list[tuple[str, str]]
    other: list[str]


@dataclass
class Heard:
    """What a session said about one caller."""

    segments: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(self.segments)

    @property
    def first_turn(self) -> str:
        """What the engine would have acted on."""
        return self.turns[0] if self.turns else ""

    def take(self, event: SttEvent) -> None:
        """Collect segments; an endpoint closes a turn."""
        if isinstance(event, SegmentHeard):
            self.segments.append(event.text)
            if event.endpoint:
                self.turns.append(event.text)
        elif isinstance(event, EndpointReached) and not self.turns and self.segments:
            self.turns.append(self.text)


@dataclass
class Tally:
    """Results of one kind of caller."""

    errors: int = 0
    words: int = 0
    right: int = 0
    count: int = 0
    misses: list[str] = field(default_factory=list)


class Listener:
    """Feeds callers to sessions and counts CPU time."""

    def __init__(self) -> None:
        self._stt = LocalStt()
        self.audio_s = 0.0
        self.cpu_s = 0.0

    async def hear(self, audio: bytes, hints: SttHints) -> Heard:
        """One caller, from the first frame to the end of the last turn."""
        heard = Heard()
        request = SttRequest("", "en-US", ENDPOINTING_MS)
        session = await self._stt.open(request, heard.take)
        session.hint(hints)
        began = time.process_time()
        for at in range(0, len(audio), FRAME_BYTES):
            session.feed(audio[at : at + FRAME_BYTES])
        session.feed(silence(1500))
        await asyncio.sleep(0)
        await HEARING.run(lambda: None)
        self.cpu_s += time.process_time() - began
        self.audio_s += len(audio) / 8000
        await session.close()
        return heard


_UNDER_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_SMALL = _UNDER_TWENTY.split()
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9}


def _spell(number: int) -> list[str]:
    if number < 20:
        return [_SMALL[number]]
    if number < 100:
        tens, unit = divmod(number, 10)
        return [_TENS[tens], *([_SMALL[unit]] if unit else [])]
    return [_SMALL[int(digit)] for digit in str(number)]


def _ordinal(number: int) -> list[str]:
    *lead, last = _spell(number)
    named = {value: word for word, value in _ORDINALS.items()}
    if last in _SMALL and _SMALL.index(last) in named:
        return [*lead, named[_SMALL.index(last)]]
    return [*lead, last.removesuffix("y") + ("ieth" if last.endswith("y") else "th")]


def plain(text: str) -> list[str]:
    """Words for counting errors: no punctuation, numbers and times spelt out."""
    lowered = text.lower().replace("p.m.", "pm").replace("a.m.", "am").replace("o'clock", "oclock")
    lowered = lowered.replace("$25", "25 dollars")
    words: list[str] = []
    for written in lowered.replace("-", " ").replace(":", " ").split():
        token = written.strip(".,!?;")
        digits = token.rstrip("stndrh")
        if digits.isdigit():
            number = int(digits)
            words += _spell(number) if digits == token else _ordinal(number)
        elif token:
            words.append(token)
    return ["twelfth" if word == "twelveth" else word for word in words]


def word_errors(said: list[str], heard: list[str]) -> int:
    """Substitutions, insertions and deletions."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, start=1):
        previous, row[0] = row[0], number
        for at, other in enumerate(heard, start=1):
            cost = min(row[at] + 1, row[at - 1] + 1, previous + (word != other))
            previous, row[at] = row[at], cost
    return row[-1]


async def sentences(
    studio: Studio, listener: Listener, document: Document
) -> tuple[dict[str, Tally], dict[str, Tally]]:
    """Word errors of all sentences, routes of the menu's, by channel."""
    matcher = Matcher(document["routes"])
    asked = [*document["menu"], *((text, "") for text in document["other"])]
    names = ("clean", "noise", "quick")
    errors: dict[str, Tally] = {name: Tally() for name in names}
    routed: dict[str, Tally] = {name: Tally() for name in names}
    babble = studio.babble([text for text, _ in asked[3::5]])
    for number, (text, route) in enumerate(asked, start=1):
        _progress("sentence", number, len(asked))
        for channel, audio in studio.channels(text, babble).items():
            heard = await listener.hear(audio, SttHints())
            _count_words(errors[channel], text, heard.text)
            if route:
                best = matcher.best(heard.first_turn)
                found = best.name if best else "nothing"
                _count(routed[channel], found == route, f"{text} -> {heard.first_turn}: {found}")
    return errors, routed


async def digit_strings(
    listener: Listener, strings: list[str], speak: Callable[[str], bytes], kind: str
) -> Tally:
    """Strings of which every digit is right, in one turn."""
    tally = Tally()
    for number, string in enumerate(strings, start=1):
        _progress(f"{kind} digits", number, len(strings))
        heard = await listener.hear(speak(string), SttHints(digits=True))
        found = spoken_digits.parse(heard.first_turn)
        _count(tally, found == string, f"{string} -> {heard.turns}: {found}")
    return tally


async def prompts(studio: Studio, listener: Listener) -> Tally:
    """Word errors of recorded sentences."""
    tally = Tally()
    recorded = human_prompts()
    for number, (text, samples) in enumerate(recorded, start=1):
        _progress("human prompt", number, len(recorded))
        heard = await listener.hear(studio.line(samples), SttHints())
        _count_words(tally, text, heard.text)
    return tally


def _count_words(tally: Tally, said: str, heard: str) -> None:
    wrong = word_errors(plain(said), plain(heard))
    tally.errors += wrong
    tally.words += len(plain(said))
    _count(tally, not wrong, f"{said} -> {heard}")


def _count(tally: Tally, is_right: bool, miss: str) -> None:
    tally.count += 1
    tally.right += is_right
    if not is_right:
        tally.misses.append(miss)


def _progress(what: str, number: int, count: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if number == count else "\r"
        print(f"{what} {number} of {count}   ", end=end, file=sys.stderr, flush=True)


def _print_misses(title: str, tally: Tally) -> None:
    for miss in tally.misses:
        print(f"    {title}: {miss}")


def report(
    errors: dict[str, Tally],
    routed: dict[str, Tally],
    strings: dict[str, Tally],
    recorded: Tally,
    listener: Listener,
) -> bool:
    """Print the tables; True when every bar is met."""
    print(f"{'channel':<10}{'WER':>8}{'sentences right':>18}{'routed right':>15}")
    for name, tally in errors.items():
        wer = tally.errors / tally.words
        route = routed[name]
        print(
            f"{name:<10}{wer:>8.1%}{f'{tally.right} of {tally.count}':>18}"
            f"{f'{route.right} of {route.count}':>15}"
        )
    wer = sum(t.errors for t in errors.values()) / sum(t.words for t in errors.values())
    right = sum(t.right for t in routed.values())
    total = sum(t.count for t in routed.values())
    met = wer <= WER_BAR and right >= ROUTING_BAR
    print(f"{'all':<10}{wer:>8.1%}{'':>18}{f'{right} of {total}':>15}")
    print(f"bars      WER <= {WER_BAR:.0%}, routed >= {ROUTING_BAR} of {total}\n")
    for kind, tally in strings.items():
        print(f"digits, {kind:<10} {tally.right} of {tally.count} strings right")
        met = met and tally.right >= DIGITS_BAR
    print(f"bar       >= {DIGITS_BAR} of {STRINGS} of each kind\n")
    if recorded.count:
        wer = recorded.errors / recorded.words
        print(f"prompts, human     WER {wer:.1%}, {recorded.right} of {recorded.count} right\n")
    print("missed:")
    kinds = [*errors.items(), *routed.items(), *strings.items(), ("human prompt", recorded)]
    for name, tally in kinds:
        _print_misses(name, tally)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu_ms = 1000 * listener.cpu_s / listener.audio_s
    print(f"\nhearing: {cpu_ms:.0f} ms CPU a second of audio; peak memory {memory:.0f} MB")
    print("all bars met" if met else "A BAR IS MISSED")
    return met


async def main() -> bool:
    """Run all callers."""
    print(ABOUT)
    document: Document = json.loads(CALLERS.read_text())
    studio, listener = Studio(), Listener()
    errors, routed = await sentences(studio, listener, document)
    chance = random.Random(SEED)
    strings = [
        "".join(chance.choice("0123456789") for _ in range(chance.randint(4, 7)))
        for _ in range(STRINGS)
    ]

    def synthetic(string: str) -> bytes:
        return studio.line(studio.say(" ".join(_SMALL[int(digit)] for digit in string) + "."))

    kinds: dict[str, Callable[[str], bytes]] = {"synthetic": synthetic}
    if HUMAN.is_dir():
        kinds["human"] = lambda string: studio.line(human_digits(string, chance))
    else:
        print("human recordings: absent (Debian: apt install asterisk-core-sounds-en-wav)\n")
    results = {
        kind: await digit_strings(listener, strings, speak, kind) for kind, speak in kinds.items()
    }
    recorded = await prompts(studio, listener)
    return report(errors, routed, results, recorded, listener)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
