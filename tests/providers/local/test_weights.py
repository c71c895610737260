"""Models' files are used only when size and digest are right."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from flowengine.errors import ProviderError
from flowengine.providers.local import weights
from flowengine.providers.local.weights import WeightFile, checked, moonshine_folder

pytestmark = pytest.mark.unit

BODY = b"weights"
FILE = WeightFile("model.ort", len(BODY), hashlib.sha256(BODY).hexdigest())


def test_right_file_is_returned(tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(BODY)
    assert checked(tmp_path, FILE) == tmp_path / FILE.name


@pytest.mark.parametrize(
    ("body", "said"), [(None, "absent"), (b"short", "size"), (b"WEIGHTS", "SHA-256")]
)
def test_wrong_file_is_refused(tmp_path: Path, body: bytes | None, said: str) -> None:
    if body is not None:
        (tmp_path / FILE.name).write_bytes(body)
    with pytest.raises(ProviderError) as caught:
        checked(tmp_path, FILE)
    assert caught.value.code == "local_weights_wrong"
    assert said in caught.value.what
    assert caught.value.where == FILE.name
    assert "moonshine-voice==0.1.0" in caught.value.fix


def test_override_names_the_folder(tmp_path: Path) -> None:
    assert moonshine_folder(str(tmp_path)) == tmp_path


def test_absent_package_is_an_error() -> None:
    with pytest.raises(ProviderError) as caught:
        weights.package_folder("no_such_package_here", "assets")
    assert caught.value.code == "local_weights_wrong"
