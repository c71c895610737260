"""Keys gathered into entries: at once where nothing longer can come, else after a time."""

from __future__ import annotations

import pytest

from flowengine.nodes.stage import KeyPlan
from flowengine.runtime.keys import Keyed, Keys
from flowengine.runtime.waits import Wait, Waits

pytestmark = pytest.mark.unit

MENU = KeyPlan(strings=("1", "2", "12"))
PIN = KeyPlan(least=4, most=4, finish="#")


def keys() -> tuple[Keys, Waits]:
    waits = Waits()
    return Keys(waits), waits


def test_a_key_of_a_menu_counts_at_once_when_no_longer_one_begins_with_it() -> None:
    gathered, waits = keys()
    assert gathered.press("2", 0, MENU, ()) == Keyed("node", "2")
    assert gathered.entered == ""
    assert not waits.names


def test_the_longer_one_has_the_inter_digit_time() -> None:
    gathered, waits = keys()
    assert gathered.press("1", 100, MENU, ()) is None
    assert waits.passed(2100) == Wait("inter_digit", 2100, 2000)
    assert gathered.entered == "1"
    assert gathered.wait_passed(MENU, ()) == Keyed("node", "1")
    assert gathered.press("1", 0, MENU, ()) is None
    assert gathered.press("2", 500, MENU, ()) == Keyed("node", "12")
    assert "inter_digit" not in waits


def test_a_key_that_means_nothing_is_a_misfit_of_the_node() -> None:
    gathered, waits = keys()
    assert gathered.press("7", 0, MENU, ()) == Keyed("node", "7")
    assert gathered.entered == "" and not waits.names
    assert gathered.press("7", 0, None, ()) is None
    assert gathered.entered == ""


def test_keys_of_edges_count_beside_those_of_the_node() -> None:
    gathered, waits = keys()
    assert gathered.press("0", 0, MENU, ("0", "99")) == Keyed("edge", "0")
    assert gathered.press("9", 0, MENU, ("0", "99")) is None
    assert gathered.press("9", 1, MENU, ("0", "99")) == Keyed("edge", "99")
    assert gathered.press("2", 0, MENU, ("2",)) == Keyed("node", "2"), "the node's own come first"
    assert gathered.press("5", 0, None, ("5",)) == Keyed("edge", "5")
    assert not waits.names


def test_a_longer_key_of_an_edge_makes_the_menu_wait() -> None:
    gathered, waits = keys()
    assert gathered.press("2", 0, MENU, ("25",)) is None
    assert "inter_digit" in waits
    assert gathered.wait_passed(MENU, ("25",)) == Keyed("node", "2")


def test_a_value_is_complete_at_its_most_digits_or_its_finish() -> None:
    gathered, waits = keys()
    for place, digit in enumerate("123"):
        assert gathered.press(digit, place, PIN, ()) is None
        assert gathered.entered == "123"[: place + 1]
    assert gathered.press("4", 4, PIN, ()) == Keyed("node", "1234")
    assert gathered.press("5", 5, PIN, ()) is None
    assert gathered.press("#", 6, PIN, ()) == Keyed("node", "5")
    assert not waits.names


def test_a_value_ends_by_the_inter_digit_time() -> None:
    gathered, waits = keys()
    gathered.press("5", 1000, PIN, ())
    assert waits.deadline_ms == 3000
    assert gathered.wait_passed(PIN, ()) == Keyed("node", "5")
    assert gathered.wait_passed(PIN, ()) is None, "nothing was keyed since"


def test_without_a_finish_every_key_is_part_of_the_value() -> None:
    gathered, _ = keys()
    plan = KeyPlan(least=1, most=3, finish="")
    assert gathered.press("#", 0, plan, ()) is None
    assert gathered.press("1", 0, plan, ()) is None
    assert gathered.press("2", 0, plan, ()) == Keyed("node", "#12")


def test_only_the_first_key_of_a_value_is_tried_against_edges() -> None:
    gathered, _ = keys()
    assert gathered.press("0", 0, PIN, ("0",)) == Keyed("edge", "0")
    assert gathered.press("1", 0, PIN, ("0",)) is None
    assert gathered.press("0", 0, PIN, ("0",)) is None
    assert gathered.entered == "10"


def test_keys_without_a_node_wait_for_edges_only() -> None:
    gathered, waits = keys()
    assert gathered.press("1", 0, None, ("12",)) is None
    assert gathered.wait_passed(None, ("12",)) is None
    assert gathered.entered == "" and not waits.names


def test_forgetting_ends_the_entry() -> None:
    gathered, waits = keys()
    gathered.press("1", 0, PIN, ())
    gathered.forget()
    assert gathered.entered == "" and not waits.names
