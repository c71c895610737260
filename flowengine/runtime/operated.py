"""What a call still has to do for somebody outside; pure data, part of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowengine.commands import OperatorSaid
from flowengine.events import Json


@dataclass(slots=True)
class Operated:
    """What is still to be done for an operator."""

    says: list[OperatorSaid] = field(default_factory=list)
    away: str | None = None
    """A transfer from outside is under way: the node to come back to, "" for none."""

    def to_json(self) -> dict[str, Json]:
        """As a checkpoint holds it."""
        says = [[said.command, said.text, said.cuts] for said in self.says]
        return {"says": says, "away": self.away}

    @classmethod
    def from_json(cls, document: Mapping[str, Json]) -> Operated:
        """As a checkpoint had it."""
        says = [OperatorSaid(*said) for said in document.get("says", ())]
        return cls(says, document.get("away"))
