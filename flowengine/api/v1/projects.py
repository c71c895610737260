"""Projects: each customer of this server has one, and sees nothing of the others."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Response
from pydantic import Field
from sqlalchemy import select

from flowengine.api.access import Operator, Reader
from flowengine.api.concurrency import IfMatch, tag
from flowengine.api.pages import Page, Pages
from flowengine.api.problems import Refused, not_found, refusals
from flowengine.api.routes import Body, group
from flowengine.api.service import TheService
from flowengine.api.texts import PlainText
from flowengine.ids import DEFAULT_PROJECT
from flowengine.store.audit import note
from flowengine.store.keys import Holder, issue
from flowengine.store.tables import Project

router = group("projects")

ProjectId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", examples=["clinic"])]
Days = Annotated[int | None, Field(ge=1, le=36_500)]


class Retention(Body):
    """What is kept for how many days; null: until it is deleted by hand."""

    calls: Days = None
    events: Days = None
    transcripts: Days = None
    recordings: Days = None


class ProjectSettings(Body):
    """What holds for all of a project."""

    retention: Retention = Retention()
    redact_transcripts: bool = Field(
        default=False,
        description="Whether card numbers, e-mail addresses, IBANs and phone numbers are taken out"
        " of transcripts before they are stored.",
    )


class ProjectBody(Body):
    """What may be said of a project."""

    name: PlainText = Field(min_length=1, max_length=100, examples=["Harbour clinic"])
    settings: ProjectSettings = ProjectSettings()


class NewProject(ProjectBody):
    """A project to be made."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", examples=["clinic"])


class ProjectShown(ProjectBody):
    """A project."""

    id: str
    created_at: datetime


class ProjectMade(ProjectShown):
    """A new project, with its first key."""

    key: str = Field(description="An admin key of the project; it is shown this once.")


@router.get("/projects")
async def list_projects(service: TheService, by: Reader, pages: Pages) -> Page[ProjectShown]:
    """The projects that this key may see: its own, or all for who runs the server."""
    async with service.database.reading(None) as session:
        query = select(Project).order_by(Project.id).limit(pages.limit + 1)
        if not by.is_operator:
            query = query.where(Project.id == by.project_id)
        if pages.after is not None:
            query = query.where(Project.id > pages.after)
        rows = (await session.scalars(query)).all()
    return pages.page(rows, lambda row: row.id, _shown)


@router.post("/projects", status_code=201, responses=refusals(409))
async def create_project(
    service: TheService, by: Operator, body: NewProject, response: Response
) -> ProjectMade:
    """Make a project and its first admin key."""
    now = service.now()
    async with service.database.writing(None) as session:
        if await session.get(Project, body.id) is not None:
            raise Refused(409, "project_exists", f"There is a project {body.id!r} already.")
        row = Project(
            id=body.id, name=body.name, settings=body.settings.model_dump(), created_at=now
        )
        session.add(row)
        await session.flush()
        first, text = issue(row.id, "first", ["admin"], now)
        session.add(first)
        note(session, by, now, "project.created", f"project/{row.id}")
    tag(response, row.version)
    return ProjectMade(**_shown(row).model_dump(), key=text)


@router.get("/projects/{project_id}", responses=refusals(404))
async def get_project(
    service: TheService, by: Reader, project_id: ProjectId, response: Response
) -> ProjectShown:
    """One project."""
    async with service.database.reading(None) as session:
        row = _allowed(await session.get(Project, project_id), by, project_id)
    tag(response, row.version)
    return _shown(row)


@router.put("/projects/{project_id}", responses=refusals(404, 412, 428))
async def change_project(
    service: TheService,
    by: Reader,
    project_id: ProjectId,
    body: ProjectBody,
    match: IfMatch,
    response: Response,
) -> ProjectShown:
    """Set a project's name and settings; an admin key of it, or the operator's."""
    if not by.may("admin"):
        raise Refused(403, "missing_scope", "This key does not have the scope 'admin'.")
    async with service.database.writing(None) as session:
        row = _allowed(await session.get(Project, project_id), by, project_id)
        match.check(row.version)
        row.name = body.name
        row.settings = body.settings.model_dump()
        note(session, by, service.now(), "project.changed", f"project/{row.id}")
    tag(response, row.version)
    return _shown(row)


@router.delete("/projects/{project_id}", status_code=204, responses=refusals(404, 409, 412, 428))
async def delete_project(
    service: TheService, by: Operator, project_id: ProjectId, match: IfMatch
) -> None:
    """Delete a project with its flows, numbers, keys, campaigns and webhooks.

    Its calls go with the next run of the retention.
    """
    if project_id == DEFAULT_PROJECT:
        raise Refused(409, "first_project", "The first project cannot be deleted.")
    async with service.database.writing(None) as session:
        row = _allowed(await session.get(Project, project_id), by, project_id)
        match.check(row.version)
        await session.delete(row)
        note(session, by, service.now(), "project.deleted", f"project/{project_id}")


def _allowed(row: Project | None, by: Holder, project_id: str) -> Project:
    if row is None or (row.id != by.project_id and not by.is_operator):
        raise not_found("project", project_id)
    return row


def _shown(row: Project) -> ProjectShown:
    return ProjectShown(
        id=row.id,
        name=row.name,
        settings=ProjectSettings.model_validate(row.settings),
        created_at=row.created_at,
    )
