"""Log lines as `serve` writes them: JSON, without a caller's numbers."""

from __future__ import annotations

import json

import pytest
import structlog

from flowengine.cli.serve import set_up_logs

pytestmark = pytest.mark.unit


def test_a_line_is_json_without_numbers_of_a_caller(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info")
    log = structlog.get_logger("test")
    call_id = "call_019411111111111111110123456789ab"
    log.debug("too_quiet")
    log.error(
        "vendor_said",
        call=call_id,
        sid="CA41111111111111111111111111111111",
        detail="No route to +14155550132",
        error=ValueError("4111 1111 1111 1111"),
        parts=[{"to": "jane@example.com"}],
        took_ms=4111111111111111,
        text=None,
    )
    (written,) = capsys.readouterr().err.splitlines()
    line = json.loads(written)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "vendor_said",
        "level": "error",
        "call": call_id,
        "sid": "CA41111111111111111111111111111111",
        "detail": "No route to [phone]",
        "error": "ValueError('[card]')",
        "parts": [{"to": "[email]"}],
        "took_ms": 4111111111111111,
        "text": None,
    }
