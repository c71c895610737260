"""No session sees or writes another project's rows: held here, once, for every statement.

A query that forgot its project would show one customer another's calls. So each statement over a
mapped class of a project gets the condition from its session, and a session that was not told its
project is refused, not trusted. Statements over the plain tables of calls name it themselves.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, with_loader_criteria

from flowengine.store.tables import OfProject

PROJECT = "project_id"
"""In a session's `info`: its project, or None for all of them."""


class ScopedSession(Session):
    """A session of one project."""


class OtherProject(AssertionError):
    """A row of another project was about to be written; a fault of ours, never of the request."""


@event.listens_for(ScopedSession, "do_orm_execute")
def _limit(state: ORMExecuteState) -> None:
    project_id = state.session.info[PROJECT]
    if project_id is None or state.is_column_load or state.is_relationship_load:
        return
    state.statement = state.statement.options(
        with_loader_criteria(
            OfProject,
            lambda cls: cls.project_id == project_id,
            include_aliases=True,
        )
    )


@event.listens_for(ScopedSession, "before_flush")
def _refuse_others(session: Session, _context: UOWTransaction, _instances: Any) -> None:
    project_id = session.info[PROJECT]
    if project_id is None:
        return
    for row in (*session.new, *session.dirty, *session.deleted):
        if isinstance(row, OfProject) and row.project_id != project_id:
            raise OtherProject(type(row).__name__)
