"""The recogniser: Moonshine tiny (English) run by our own decode loop on onnxruntime.

It hears a whole utterance at once: 16 kHz samples go through the encoder (about 42 states a
second), the decoder writes one token at a time and keeps its attention state. One instance serves
all calls of a process; it runs in `worker.HEARING` only, because it is not thread-safe and takes
tens of milliseconds.

Shapes, as the files declare them: encoder `input_values` and `attention_mask` [batch, samples];
decoder `input_ids` [batch, tokens], `encoder_hidden_states` [batch, states, 288],
`encoder_attention_mask` [batch, samples] (as long as the raw audio), a past of 6 layers with key
and value of the decoder and of the encoder, [batch, 8, tokens, 36], and `use_cache_branch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowengine.providers.local import weights
from flowengine.providers.local.install import unavailable
from flowengine.providers.local.transcript import Transcript, tidy
from flowengine.providers.local.vocabulary import BEGIN, END, Vocabulary

RATE = 16_000

PAD_MS = 300
"""Silence before and after: without it lone words are lost."""

TOKENS_A_SECOND = 6.5
"""More tokens than this in a second of speech are a loop, not speech."""

LEAST_TOKENS = 8
"""A short word may take a few tokens; the end needs one too."""

_LAYERS = 6
_HEADS = 8
_HEAD_SIZE = 36

Samples = NDArray[np.float32]
_Past = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An utterance as the encoder hears it."""

    hidden: NDArray[np.float32]
    samples: int
    """With the padding."""
    speech_ms: int
    """Without it."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Token ids without begin and end, and the mean log-probability with the end."""

    ids: tuple[int, ...]
    logp: float


def session(path: Path) -> Any:
    """An onnxruntime session of one thread (the package has no types of its own)."""
    try:
        onnx = import_module("onnxruntime")
    except ImportError as error:
        raise unavailable("onnxruntime is installed and does not load here") from error
    options = onnx.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnx.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _no_past(batch: int) -> _Past:
    empty = np.zeros((batch, _HEADS, 0, _HEAD_SIZE), dtype=np.float32)
    return {
        f"past_key_values.{layer}.{side}.{part}": empty
        for layer in range(_LAYERS)
        for side in ("decoder", "encoder")
        for part in ("key", "value")
    }


class Moonshine:
    """The two networks and their vocabulary. Loading takes about half a second."""

    def __init__(self, folder: Path) -> None:
        self._encoder = session(weights.checked(folder, weights.ENCODER))
        self._decoder = session(weights.checked(folder, weights.DECODER))
        self.vocabulary = Vocabulary(weights.checked(folder, weights.TOKENS).read_bytes())
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._digits = np.full(len(self.vocabulary), -np.inf, dtype=np.float32)
        self._digits[self.vocabulary.digit_ids()] = 0.0

    def transcribe(self, pcm16k: bytes) -> Transcript:
        """The words of one utterance of 16-bit audio at 16 kHz."""
        encoded = self.encode(pcm16k)
        return self.transcript(self.greedy(encoded), encoded)

    def transcript(self, decoded: Decoded, encoded: Encoded) -> Transcript:
        """What was decoded, as words one may act on."""
        text = self.vocabulary.text(decoded.ids)
        return tidy(text, decoded.logp, speech_ms=encoded.speech_ms)

    def encode(self, pcm16k: bytes) -> Encoded:
        """Hear an utterance; silence is put around it."""
        speech = np.frombuffer(pcm16k, dtype="<i2").astype(np.float32) / 32768.0
        padded = np.pad(speech, PAD_MS * RATE // 1000)[None, :]
        feeds = {"input_values": padded, "attention_mask": np.ones(padded.shape, dtype=np.int64)}
        (hidden,) = self._encoder.run(None, feeds)
        return Encoded(hidden, padded.shape[1], len(speech) * 1000 // RATE)

    def greedy(self, encoded: Encoded, *, digits: bool = False) -> Decoded:
        """The likeliest token after each token; with `digits`, of those that digits need.

        The log-probability is that among all tokens, so the two ways can be compared.
        """
        spoken_s = (encoded.speech_ms + 2 * PAD_MS) / 1000
        longest = max(LEAST_TOKENS, int(spoken_s * TOKENS_A_SECOND))
        feeds = self._feeds(encoded, np.array([[BEGIN]], dtype=np.int64))
        ids: list[int] = []
        total = 0.0
        for _ in range(longest):
            logits, past = self._step(feeds)
            logp = log_softmax(logits[0, -1])
            token = int(np.argmax(logp + self._digits if digits else logp))
            total += float(logp[token])
            if token == END:
                return Decoded(tuple(ids), total / (len(ids) + 1))
            ids.append(token)
            feeds |= past
            feeds["input_ids"] = np.array([[token]], dtype=np.int64)
            feeds["use_cache_branch"] = np.array([True])
        return Decoded(tuple(ids), total / len(ids))

    def logits(self, encoded: Encoded, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Teacher forcing: what would be written after each of these tokens, [batch, tokens]."""
        (logits,) = self._decoder.run(["logits"], self._feeds(encoded, tokens))
        result: NDArray[np.float32] = logits
        return result

    def _feeds(self, encoded: Encoded, tokens: NDArray[np.int64]) -> dict[str, Any]:
        batch = tokens.shape[0]
        return {
            "input_ids": tokens,
            "encoder_hidden_states": np.repeat(encoded.hidden, batch, axis=0),
            "encoder_attention_mask": np.ones((batch, encoded.samples), dtype=np.int64),
            "use_cache_branch": np.array([False]),
            **_no_past(batch),
        }

    def _step(self, feeds: dict[str, Any]) -> tuple[NDArray[np.float32], _Past]:
        """One token on: its logits, and the past to go on from.

        The encoder's part of the past is made by the first step and stays as it is.
        """
        is_first = not feeds["use_cache_branch"][0]
        logits, *present = self._decoder.run(None, feeds)
        past = {
            name.replace("present", "past_key_values"): value
            for name, value in zip(self._outputs[1:], present, strict=True)
            if is_first or ".decoder." in name
        }
        return logits, past


@lru_cache(maxsize=2)
def shared(folder: Path) -> Moonshine:
    """The process's one recogniser. Call it in the hearing worker only."""
    return Moonshine(folder)
