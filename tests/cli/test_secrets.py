"""Secrets of tools from the environment and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowengine.cli.serve import tool_secrets
from flowengine.errors import ConfigError

pytestmark = pytest.mark.unit


def test_a_secret_is_a_value_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("from a file\n")
    monkeypatch.setenv("FLOWENGINE_SECRET_KEY", "not one of them")
    monkeypatch.setenv("FLOWENGINE_SECRET_CRM_TOKEN", "by value")
    monkeypatch.setenv("FLOWENGINE_SECRET_DESK_TOKEN_FILE", str(file))
    assert tool_secrets() == {"crm_token": "by value", "desk_token": "from a file"}
    monkeypatch.setenv("FLOWENGINE_SECRET_DESK_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError) as caught:
        tool_secrets()
    assert (caught.value.code, caught.value.where) == (
        "unreadable_secret",
        "FLOWENGINE_SECRET_DESK_TOKEN_FILE",
    )
