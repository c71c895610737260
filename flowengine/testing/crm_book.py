"""A small customer system as plain Python functions: the tools of the CRM flow.

The package offers them as entry points `flowengine.tools` (`crm.add_visit`); the engine calls
them in a thread.
Accounts and colleagues stand here; visits are appended, one JSON object a line, to the file that
`CRM_FILE` names (`crm-visits.jsonl` in the working folder unless it is set). What goes wrong is
raised, and ends the tool `failed`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import orjson

from flowengine.events import Json

FILE_VARIABLE = "CRM_FILE"
DEFAULT_FILE = "crm-visits.jsonl"

ACCOUNTS = {
    "10204": "Hillside Bakery",
    "10311": "Corner Bookshop",
    "20877": "Rivera and Sons",
    "31056": "Blue Door Hotel",
}
COLLEAGUES = {"4711": "Dana", "4712": "Sam"}


class Unknown(LookupError):
    """Nobody, or nothing, goes by that number."""


def sign_in(number: str) -> dict[str, Json]:
    """The colleague of a personal number."""
    if number not in COLLEAGUES:
        raise Unknown
    return {"name": COLLEAGUES[number]}


def find_account(account: str) -> dict[str, Json]:
    """The customer of an account number."""
    if account not in ACCOUNTS:
        raise Unknown
    return {"company": ACCOUNTS[account]}


def add_visit(
    account: str,
    colleague: str,
    upshot: str | None = None,
    amount: float | None = None,
    follow_up: str | None = None,
    remark: str | None = None,
    *,
    draft: bool = False,
) -> dict[str, Json]:
    """Write a visit down; the answer is its number, counted from 1."""
    find_account(account)
    visit = {
        "number": sum(1 for _ in _visits()) + 1,
        "account": account,
        "colleague": colleague,
        "upshot": upshot,
        "amount": amount,
        "follow_up": follow_up,
        "remark": remark,
        "draft": draft,
    }
    with _file().open("ab") as file:
        file.write(orjson.dumps(visit) + b"\n")
    return {"number": visit["number"]}


def last_visit(account: str) -> dict[str, Json]:
    """The newest visit to a customer; an empty object when there was none."""
    found: dict[str, Json] = {}
    for visit in _visits():
        if visit["account"] == account and not visit["draft"]:
            found = visit
    return {"upshot": found.get("upshot"), "follow_up": found.get("follow_up")} if found else {}


def _file() -> Path:
    return Path(os.environ.get(FILE_VARIABLE) or DEFAULT_FILE)


def _visits() -> Iterator[dict[str, Json]]:
    """The visits on file, oldest first."""
    if _file().exists():
        for line in _file().read_bytes().splitlines():
            yield orjson.loads(line)
