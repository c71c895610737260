"""One call of `flowengine demo` as it is: local speech both ways, real sockets, the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowengine.cli.demo import _ring
from flowengine.cli.demo_callers import CALLERS, record_lines
from flowengine.cli.demo_engines import DemoCall, serving
from flowengine.cli.demo_report import write_files
from flowengine.events import NodeEntered, TurnEnded
from flowengine.media.recording import read_wav
from flowengine.providers.local import make_tts
from flowengine.providers.settings import ProviderSettings
from flowengine.testing.phone_audio import is_audible
from tests.providers.local.extra import needs_models

pytestmark = [
    pytest.mark.local,
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.timeout(240),
    needs_models,
]


async def test_the_first_caller_is_understood_and_handed_over(tmp_path: Path) -> None:
    caller = CALLERS[0]
    call = DemoCall(caller)
    lines = await record_lines(make_tts(ProviderSettings({})), [caller])
    async with serving(call, tmp_path / "data", lambda event, at_ms: None):
        await _ring(call, lines)
    assert call.is_complete
    nodes = [fact.node for _, fact in call.facts if isinstance(fact, NodeEntered)]
    assert nodes[:3] == ["welcome", "who", "department"]
    assert nodes[-1] == "billing"
    assert len([fact for _, fact in call.facts if isinstance(fact, TurnEnded)]) >= 3
    folder = write_files(call, tmp_path / "out")
    assert (folder / "journal.jsonl").stat().st_size > 0
    for side in read_wav(folder / "recording.wav"):
        assert any(is_audible(side[at : at + 160]) for at in range(0, len(side), 160))
