"""Contacts of a campaign, from lists of any length: read row by row, written in batches.

A row that cannot be called is rejected with its line and the reason; the others go in. The same
number twice in a campaign is one contact: the first row's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import phonenumbers
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.events import Json
from flowengine.store.database import Database
from flowengine.store.identities import new_id
from flowengine.store.tables import Contact

BATCH = 1000
MOST_REJECTED = 1000
"""Rejected rows that are told of one by one; the rest are counted."""
LONGEST_ROW = 65_536
"""Bytes of one row."""

_PHONE, _ZONE = "phone", "time_zone"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not taken: its line in the list, counted from 1, and why."""

    line: int
    code: str
    message: str


@dataclass(slots=True)
class Import:
    """What came of a list."""

    added: int = 0
    known: int = 0
    """Numbers that the campaign had already."""
    rejected_count: int = 0
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, line: int, code: str, message: str) -> None:
        self.rejected_count += 1
        if len(self.rejected) < MOST_REJECTED:
            self.rejected.append(Rejected(line, code, message))


class BadList(ValueError):
    """A list that cannot be read at all."""


Row = tuple[int, Mapping[str, Json]]


async def csv_rows(chunks: AsyncIterator[bytes], imported: Import) -> AsyncIterator[Row]:
    """Rows of CSV with a head line, by column. Raises BadList for a head without `phone`."""
    head: list[str] | None = None
    async for line, text in _records(chunks, imported):
        cells = next(csv.reader(io.StringIO(text, newline="")), [])
        if head is None:
            head = [name.strip() for name in cells]
            if _PHONE not in head or len(set(head)) != len(head):
                raise BadList(f"The head line has no column {_PHONE!r}, or one of them twice.")
        elif len(cells) != len(head):
            message = f"It has {len(cells)} cells, the head line {len(head)}."
            imported.reject(line, "wrong_cells", message)
        else:
            yield line, dict(zip(head, cells, strict=True))


async def json_rows(chunks: AsyncIterator[bytes], imported: Import) -> AsyncIterator[Row]:
    """Rows of JSON, one object a line."""
    async for line, text in _lines(chunks, imported):
        try:
            row = orjson.loads(text)
        except ValueError:
            imported.reject(line, "bad_json", "The line is no JSON.")
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            imported.reject(line, "bad_json", "The line is no JSON object.")


async def add_contacts(
    database: Database,
    project_id: str,
    campaign_id: str,
    rows: AsyncIterator[Row],
    imported: Import,
    *,
    country: str | None,
    now: datetime,
) -> None:
    """Store the rows; numbers without + are read as `country` dials them. Raises StoreError."""
    batch: dict[str, dict[str, object]] = {}
    async for line, row in rows:
        made = _contact(line, row, imported, country)
        if made is None:
            continue
        phone = str(made["phone"])
        if phone in batch:
            imported.known += 1
            continue
        own = {"id": new_id("cont", now), "project_id": project_id, "campaign_id": campaign_id}
        batch[phone] = {**made, **own, "state": "waiting", "attempts": 0, "created_at": now}
        if len(batch) == BATCH:
            await _store(database, project_id, campaign_id, batch, imported)
            batch = {}
    if batch:
        await _store(database, project_id, campaign_id, batch, imported)


async def _store(
    database: Database,
    project_id: str,
    campaign_id: str,
    batch: dict[str, dict[str, object]],
    imported: Import,
) -> None:
    async with database.writing(project_id) as session:
        known = await _known(session, campaign_id, list(batch))
        new = [row for phone, row in batch.items() if phone not in known]
        if new:
            await session.execute(insert(Contact), new)
    imported.added += len(new)
    imported.known += len(known)


async def _known(session: AsyncSession, campaign_id: str, phones: list[str]) -> set[str]:
    query = select(Contact.phone).where(
        Contact.campaign_id == campaign_id, Contact.phone.in_(phones)
    )
    return set(await session.scalars(query))


def _contact(
    line: int, row: Mapping[str, Json], imported: Import, country: str | None
) -> dict[str, object] | None:
    phone = _e164(str(row.get(_PHONE) or ""), country)
    if phone is None:
        fix = "Write it with + and the country's code, or give the list's country."
        imported.reject(line, "bad_phone", f"No phone number that can be called. {fix}")
        return None
    zone = str(row.get(_ZONE) or "") or None
    if zone is not None and not _is_zone(zone):
        imported.reject(line, "bad_time_zone", "No time zone such as Europe/Berlin.")
        return None
    variables = {name: value for name, value in row.items() if name not in (_PHONE, _ZONE)}
    try:
        written = orjson.dumps(variables)
    except (TypeError, ValueError):
        imported.reject(line, "bad_json", "A value is no plain JSON.")
        return None
    if b"\\u0000" in written:
        imported.reject(line, "bad_text", "A value holds a NUL character.")
        return None
    return {"phone": phone, "time_zone": zone, "next_at": None, "variables": variables}


def _e164(written: str, country: str | None) -> str | None:
    try:
        number = phonenumbers.parse(written, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


async def _lines(chunks: AsyncIterator[bytes], imported: Import) -> AsyncIterator[tuple[int, str]]:
    """Lines of UTF-8 that are not empty, with their numbers; never more than one in memory."""
    rest, number = b"", 0
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_ROW:
            raise BadList(f"Line {number + len(whole) + 1} has more than {LONGEST_ROW} bytes.")
        for line in whole:
            number += 1
            if (text := _text(line, number, imported)) is not None:
                yield number, text
    if rest and (text := _text(rest, number + 1, imported)) is not None:
        yield number + 1, text


def _text(line: bytes, number: int, imported: Import) -> str | None:
    try:
        text = line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        imported.reject(number, "bad_text", "The line is no UTF-8.")
        return None
    return text if text.strip() else None


async def _records(
    chunks: AsyncIterator[bytes], imported: Import
) -> AsyncIterator[tuple[int, str]]:
    """Records of CSV: lines, joined where a quoted cell goes over several."""
    begun, text = 0, ""
    async for number, line in _lines(chunks, imported):
        begun, text = (number, line) if not text else (begun, f"{text}\n{line}")
        if text.count('"') % 2 == 0:
            yield begun, text
            text = ""
        elif len(text) > LONGEST_ROW:
            raise BadList(f"The quote in line {begun} is never closed.")
    if text:
        imported.reject(begun, "open_quote", "A quote is never closed.")
