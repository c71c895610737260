"""Carriers are found in their package and in other packages' entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from flowengine.carriers import discovery
from flowengine.carriers.discovery import load_carriers
from flowengine.ports import Carrier, Switchboard
from flowengine.settings import Settings
from tests.carriers.exchange import Exchange

pytestmark = pytest.mark.unit

SET_UP = Settings.model_validate(
    {"public_url": "https://phone.example.com", "twilio_auth_token": "t"}
)


def test_twilio_is_there_once_it_is_set_up() -> None:
    (carrier,) = load_carriers(SET_UP, Exchange())
    assert carrier.name == "twilio"
    assert sorted(carrier.webhooks()) == ["next", "recording", "status", "voice"]
    assert list(carrier.sockets()) == ["media"]


@pytest.mark.parametrize("missing", ["public_url", "twilio_auth_token"])
def test_without_token_or_address_there_are_no_routes(missing: str) -> None:
    settings = Settings.model_validate(SET_UP.model_dump() | {missing: ""})
    assert load_carriers(settings, Exchange()) == []
    assert any("Twilio routes are off" in note for note in settings.notes())


def acme(settings: Settings, switchboard: Switchboard) -> Carrier | None:
    """Another package's carrier: Twilio's under another name."""
    (carrier,) = load_carriers(SET_UP, switchboard)
    carrier.name = "acme"
    return carrier


def test_other_packages_carriers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("acme", "tests.carriers.test_discovery:acme", discovery.ENTRY_POINTS)
    rounds = iter([[point], []])
    monkeypatch.setattr(discovery, "entry_points", lambda group: next(rounds))
    assert [c.name for c in load_carriers(SET_UP, Exchange())] == ["acme", "twilio"]
