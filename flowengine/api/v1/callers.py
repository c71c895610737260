"""The people who called or were called: what is kept of one of them can be deleted as a whole."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import Field

from flowengine.api.access import Admin
from flowengine.api.problems import Refused, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.errors import CallError
from flowengine.store.erasing import erase_caller

router = group("callers")

E164 = Annotated[str, Path(pattern=r"^\+[1-9][0-9]{6,14}$", examples=["+33123456789"])]


class ErasedShown(Body):
    """What was deleted."""

    calls: int = Field(description="With their journals, checkpoints, transcripts and events.")
    recordings: int
    contacts: int = Field(description="Of campaigns.")


@router.delete("/callers/{e164}", responses=refusals(409))
async def erase(service: TheService, by: Admin, e164: E164) -> ErasedShown:
    """Delete all that the project keeps of a number: as the caller, and as who was called.

    A number of which nothing is kept is no error. The log of changes says that it was done, with a
    pseudonym in place of the number. When it is refused or cut off in the middle, ask again.
    """
    pseudonym = service.cipher.pseudonym(f"{by.project_id} {e164}")
    try:
        erased = await erase_caller(
            service.database, service.engine.recordings, by, e164, pseudonym, service.now()
        )
    except CallError as error:
        raise Refused(409, error.code, error.what, where=error.where, fix=error.fix) from error
    return ErasedShown(calls=erased.calls, recordings=erased.recordings, contacts=erased.contacts)
