"""The named waits of supervision and their limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Limits in ms. After the first failure everything else has `recovery_ms`.

    So the caller hears something, if only an apology, within three seconds of a failure.
    """

    llm_first_token_ms: int = 4000
    llm_hedge_ms: int = 1500
    """An LLM that gives no token for so long gets the next choice beside it."""
    llm_between_tokens_ms: int = 4000
    tts_open_ms: int = 2000
    tts_first_audio_ms: int = 3000
    tts_between_audio_ms: int = 3000
    stt_open_ms: int = 2000
    stt_answer_ms: int = 3000
    """From the end of speech to any result of the recogniser."""
    stt_answer_again_ms: int = 2000
    """The same for the recogniser that takes over, from its opening; so that the caller of one
    that never answers is told within 6 s of his last word."""
    recovery_ms: int = 2500
    replay_ms: int = 10_000
    """How much audio is kept for a recogniser that comes back."""
    replay_speed: float | None = None
    """How much faster than it was spoken that is replayed; None: as fast as the vendor takes it."""
