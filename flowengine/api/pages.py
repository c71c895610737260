"""Lists in pages: `limit`, and a cursor that says after which row the next page begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from flowengine.api.problems import Refused

T = TypeVar("T")
Row = TypeVar("Row")

MOST = 200


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None = Field(
        default=None, description="The `cursor` of the next page; null on the last one."
    )


class Paging:
    """How much of a list is asked for."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=MOST, description="Most items of a page.")] = 50,
        cursor: Annotated[
            str | None, Query(max_length=400, description="`next` of the page before.")
        ] = None,
    ) -> None:
        self.limit = limit
        self.after = None if cursor is None else _read(cursor)
        """The key of the last row of the page before."""

    @property
    def after_number(self) -> int | None:
        """The same, for lists that go by a number."""
        if self.after is None:
            return None
        if not self.after.isascii() or not self.after.isdigit() or len(self.after) > 18:
            raise _bad_cursor()
        return int(self.after)

    def page(
        self, rows: Sequence[Row], key: Callable[[Row], str | int], item: Callable[[Row], T]
    ) -> Page[T]:
        """The page, of at most `limit` + 1 rows that were read; `key` is what they go by."""
        shown = rows[: self.limit]
        is_more = len(rows) > self.limit
        return Page(
            items=[item(row) for row in shown],
            next=_written(str(key(shown[-1]))) if is_more else None,
        )


Pages = Annotated[Paging, Depends(Paging)]
"""A parameter of a route that lists."""


def _written(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _read(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if "\0" in key or _written(key) != cursor:
        raise _bad_cursor()
    return key


def _bad_cursor() -> Refused:
    return Refused(
        400, "bad_cursor", "The cursor is none of this list.", fix="Use `next` as it was given."
    )
