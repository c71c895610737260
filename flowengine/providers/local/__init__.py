"""Speech without a key: recogniser, voice and voice activity on this machine (extra `local`).

Reading order: `install` (is the extra there), `weights` (are the files right), `worker` (models
run in one thread each, off the event loop), `vocabulary` and `moonshine` (the recogniser's loop),
`transcript` (what is done to its words), `candidates` (closed sets and digits), `vad` and
`endpoints` (when somebody speaks), `stt` and `voice` (the ports). English only.

No module here that the two functions below reach imports a model's package before `open` or
`warm` is called; where the extra is missing those raise ProviderError
(`local_speech_unavailable`).
"""

from __future__ import annotations

from flowengine.providers.local.stt import LocalStt
from flowengine.providers.local.voice import LocalTts
from flowengine.providers.local.weights import DIR_SETTING
from flowengine.providers.settings import ProviderSettings


def make_stt(settings: ProviderSettings) -> LocalStt:
    """The recogniser; `FLOWENGINE_MOONSHINE_DIR` names another folder with its weights."""
    return LocalStt(settings.values.get(DIR_SETTING, "").strip())


def make_tts(settings: ProviderSettings) -> LocalTts:
    """The voice; it has no settings."""
    return LocalTts()
