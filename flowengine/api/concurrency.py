"""Two people who edit one thing: an ETag with each answer, `If-Match` with each change.

A change without `If-Match` is refused, so that nobody overwrites by forgetting it; `*` says that
whatever is there may be overwritten.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Response

from flowengine.api.problems import Refused, changed_meanwhile


class Match:
    """The version that a change was made of."""

    def __init__(
        self,
        if_match: Annotated[
            str | None, Header(description='The ETag that was read, such as "3"; or `*`.')
        ] = None,
    ) -> None:
        self._wanted = if_match

    def check(self, version: int) -> None:
        """Raises Refused: 428 without `If-Match`, 412 when `version` is not the one it names."""
        if self._wanted is None:
            raise Refused(
                428,
                "no_if_match",
                "A change names the version that it was made of.",
                fix="Send `If-Match` with the ETag of your last read, or `*`.",
            )
        wanted = [part.strip().removeprefix("W/") for part in self._wanted.split(",")]
        if "*" not in wanted and etag(version) not in wanted:
            raise changed_meanwhile()


IfMatch = Annotated[Match, Depends(Match)]
"""A parameter of a route that changes something."""


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def tag(response: Response, version: int) -> None:
    """Say in the answer which version it is."""
    response.headers["etag"] = etag(version)
