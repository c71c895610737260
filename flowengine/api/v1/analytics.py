"""Totals over calls."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime, Field

from flowengine.api.access import Reader
from flowengine.api.problems import Refused
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.store.analytics import By, totals

router = group("analytics")

LONGEST = timedelta(days=400)


class TotalShown(Body):
    """One group of calls."""

    group: dict[str, str] = Field(description="What its calls have in common.")
    calls: int
    over: int = Field(description="Calls that have ended; lengths are of these.")
    longest_ms: int
    all_ms: int = Field(description="Of all of them together.")
    mean_ms: int | None


class Totals(Body):
    """Calls in groups."""

    items: list[TotalShown]


@router.get("/analytics/calls")
async def count_calls(
    service: TheService,
    by: Reader,
    group_by: Annotated[
        list[By], Query(min_length=1, max_length=3, description="What groups have in common.")
    ] = ["day"],  # noqa: B006 - FastAPI copies it
    since: Annotated[
        AwareDatetime | None, Query(description="The first moment; 30 days ago.")
    ] = None,
    until: Annotated[AwareDatetime | None, Query(description="The end; now.")] = None,
) -> Totals:
    """How many calls there were, and how long; days are those of UTC."""
    last = service.now() if until is None else until
    try:
        first = last - timedelta(days=30) if since is None else since
        span = last.astimezone(UTC) - first.astimezone(UTC)
    except OverflowError as error:
        raise _bad_span() from error
    if not timedelta(0) < span <= LONGEST or len(set(group_by)) != len(group_by):
        raise _bad_span()
    async with service.database.reading(by.project_id) as session:
        found = await totals(
            session, by.project_id, group_by, first.astimezone(UTC), last.astimezone(UTC)
        )
    return Totals(
        items=[
            TotalShown(
                group=dict(zip(group_by, one.group, strict=True)),
                calls=one.calls,
                over=one.over,
                longest_ms=one.longest_ms,
                all_ms=one.all_ms,
                mean_ms=round(one.all_ms / one.over) if one.over else None,
            )
            for one in found
        ]
    )


def _bad_span() -> Refused:
    return Refused(
        422,
        "bad_span",
        f"`since` is before `until`, at most {LONGEST.days} days, and groups are named once.",
        fix="Ask for a shorter time.",
    )
