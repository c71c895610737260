"""`flowengine call FLOW --microphone`: talk to a flow through this computer's own sound.

The engine is the one that answers the phone; only the line is the sound card's. A typed line of
digits is keys.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowengine.app import Engine
from flowengine.carriers.microphone import MicrophoneLine
from flowengine.errors import CarrierError
from flowengine.events import CallEnded, Event, TurnEnded, UtteranceSpoken
from flowengine.ids import CallId, new_call_id
from flowengine.ports import CallOffer, Dial, Reconnect
from flowengine.settings import load_settings

RATE = 8000
FRAME = 160
KEYS = frozenset("0123456789*#")

OpenDevice = Callable[[Callable[[bytes], bytes]], Any]
"""Opens the sound card: a context manager that calls back with what was heard, 20 ms at a time."""


async def talk(flow: Path, number: str, open_device: OpenDevice | None = None) -> None:
    """Hold one call. Raises CarrierError(`no_sound`) where there is no microphone."""
    device = open_device or _sound_card
    engine = Engine(load_settings(), flow, watch=_show)
    engine.supervisor.carriers = ["microphone"]
    try:
        await engine.warm()
        await _hold(engine, number, device)
    finally:
        await engine.close(drain_s=2)


async def _hold(engine: Engine, number: str, device: OpenDevice) -> None:
    sid = new_call_id()
    offer = CallOffer("microphone", sid, "inbound", number, "")
    step = await engine.supervisor.offered(offer)
    while isinstance(step, Reconnect):
        line = MicrophoneLine()
        with device(line.exchange):
            typing = asyncio.create_task(asyncio.to_thread(_read_keys, line))
            await engine.supervisor.stream_opened(step.ticket, line)
            typing.cancel()
        step = await engine.supervisor.next_step(sid, None)
    if isinstance(step, Dial):
        print("(Here the carrier would connect the caller with somebody else.)")


def _read_keys(line: MicrophoneLine) -> None:
    """Typed digits are keys; the end of the input hangs up."""
    for typed in sys.stdin:
        for digit in typed.strip():
            if digit in KEYS:
                line.press(digit)
    line.hang_up()


def _sound_card(exchange: Callable[[bytes], bytes]) -> Any:
    try:
        sound: Any = importlib.import_module("sounddevice")
    except (ImportError, OSError) as error:
        raise CarrierError(
            "no_sound",
            "The sound card cannot be used.",
            where="microphone",
            fix="Install sounddevice and PortAudio (Debian: libportaudio2), or call with --text.",
        ) from error

    def swap(heard: Any, played: Any, frames: int, moment: Any, status: Any) -> None:
        played[:] = exchange(bytes(heard))

    try:
        return sound.RawStream(
            samplerate=RATE, blocksize=FRAME, channels=1, dtype="int16", callback=swap
        )
    except (sound.PortAudioError, ValueError) as error:
        raise CarrierError(
            "no_sound",
            "There is no microphone and loudspeaker that can do 8000 Hz.",
            where="microphone",
            fix="Plug one in, or call with --text.",
        ) from error


def _show(call_id: CallId, event: Event, at_ms: int) -> None:
    match event:
        case TurnEnded(_, text):
            print(f"{at_ms / 1000:7.1f} s  you  {text}")
        case UtteranceSpoken(heard=heard) if heard.strip():
            print(f"{at_ms / 1000:7.1f} s  bot  {heard}")
        case CallEnded(disposition):
            print(f"{at_ms / 1000:7.1f} s  ended: {disposition}")
