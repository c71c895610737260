"""The declaration of a calendar; `flowengine.flow.calendars` answers questions about it."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from flowengine.flow.defaults import Timezone
from flowengine.flow.models import FlowModel
from flowengine.flow.types import wrong

days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _interval(value: str) -> str:
    match = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", value)
    hours = [int(part) for part in match.groups()] if match else []
    good = bool(hours) and hours[0] < 24 and hours[1] < 60 and hours[3] < 60
    good = good and (hours[2] < 24 or (hours[2] == 24 and hours[3] == 0))
    if not good or hours[:2] == hours[2:]:
        message = f"{value!r} is no interval of a day."
        raise wrong("bad_interval", message, 'Write "09:00-12:30"; it may end after midnight.')
    return value


def _days(value: str) -> str:
    if not days_of(value):
        message = f"{value!r} is neither a day nor a range of days."
        raise wrong("bad_days", message, 'Write "mon", "sat" or "mon-fri".')
    return value


def _date(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        good = False
    else:
        good = len(value) == 10
    if not good:
        raise wrong("bad_date", f"{value!r} is no date.", 'Write one such as "2026-12-24".')
    return value


@lru_cache(maxsize=1024)
def days_of(value: str) -> tuple[int, ...]:
    """The weekdays (0 = Monday) of `"sat"` or `"mon-fri"`; ranges may wrap; () when wrong."""
    first, dash, last = value.partition("-")
    if first not in days or (dash and last not in days):
        return ()
    start = days.index(first)
    end = days.index(last) if dash else start
    return tuple((start + step) % 7 for step in range((end - start) % 7 + 1))


Interval: TypeAlias = Annotated[str, AfterValidator(_interval)]
Days: TypeAlias = Annotated[str, AfterValidator(_days)]
IsoDate: TypeAlias = Annotated[str, AfterValidator(_date)]


def _region(value: str) -> str:
    if re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,5})?", value) is None:
        message = f"{value!r} is no country or region."
        raise wrong("bad_region", message, 'Write "FR" or "US-CA".')
    return value


class Calendar(FlowModel):
    """When a place is open. The most special wins: open date, closed date, holiday, day, range."""

    timezone: Timezone | None = Field(
        None, description="The calendar's time zone; without it, the flow's."
    )
    weekly: dict[Days, tuple[Interval, ...]] = Field(
        default_factory=dict,
        description='Hours by day or range of days: {"mon-fri": ["09:00-12:30"]}.',
    )
    holidays: Annotated[str, AfterValidator(_region)] | None = Field(
        None, description='Closed on the public holidays of a country or region, such as "US-CA".'
    )
    closed: tuple[IsoDate, ...] = Field((), description="Dates on which it is closed.")
    open: dict[IsoDate, tuple[Interval, ...]] = Field(
        default_factory=dict, description="Dates with hours of their own."
    )
