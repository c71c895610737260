"""How a project treats what is kept of its callers: what its settings say, read where they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from flowengine.events import Json
from flowengine.store.tables import Project

LIVE_DAYS = 7
"""How long live events are kept when the project does not say."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Days for which each is kept, None for ever; and whether transcripts are redacted."""

    calls: int | None = None
    events: int | None = None
    transcripts: int | None = None
    recordings: int | None = None
    redacts: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Json]) -> Policy:
        """The policy of a project's settings, as the API keeps them."""
        days = settings.get("retention") or {}
        return cls(
            calls=days.get("calls"),
            events=days.get("events"),
            transcripts=days.get("transcripts"),
            recordings=days.get("recordings"),
            redacts=bool(settings.get("redact_transcripts", False)),
        )

    @property
    def journals(self) -> int | None:
        """A journal holds what was said, so none is kept longer than transcripts are."""
        return min((days for days in (self.events, self.transcripts) if days), default=None)

    @property
    def live(self) -> int:
        """Live events hold what was said, too."""
        days = self.events or LIVE_DAYS
        return min(days, self.transcripts or days)


async def policy_of(session: AsyncSession, project_id: str) -> Policy:
    """The policy of a project; that of none is to keep everything."""
    project = await session.get(Project, project_id)
    return Policy() if project is None else Policy.of(project.settings)


def before(now: datetime, days: int | None) -> datetime | None:
    """What is older than this has been kept for so many days; None: nothing is too old."""
    return None if days is None else now - timedelta(days=days)
