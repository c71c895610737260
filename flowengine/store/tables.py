"""Every table of the store, once for both databases.

What is edited by hand (projects, flows, numbers, …) is a mapped class with a `version` that counts
its changes: an update of an older version is refused, and the API's ETag is made of it. What is
written by calls (`call`, `call_event`, …) is a plain table, for the writer's batches.
Times are aware and in UTC; JSON keeps the order of its keys.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flowengine.events import Json
from flowengine.ids import DEFAULT_PROJECT

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

BigInt = BigInteger().with_variant(Integer, "sqlite")
"""64 bits; SQLite's own row number when it is the key."""


class UtcTime(TypeDecorator[datetime]):
    """An aware time; SQLite keeps it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone is stored nowhere")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """What all mapped tables share."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it off the class
        datetime: UtcTime(),
        dict[str, Json]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
    }


metadata = Base.metadata


class OfProject:
    """A table whose rows each belong to one project; sessions see those of theirs alone."""

    project_id: Mapped[str] = mapped_column()


# --- who may do what ---


class Project(Base):
    """A customer of this server; nothing of one project is seen by another's key."""

    __tablename__ = "project"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    settings: Mapped[dict[str, Json]]
    version: Mapped[int] = mapped_column()
    created_at: Mapped[datetime]
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as above


class ApiKey(OfProject, Base):
    """A key of the API: its first part in clear, of the rest a SHA-256."""

    __tablename__ = "api_key"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[str]
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (Index(None, "project_id", "id"),)


class Secret(OfProject, Base):
    """A value that tools' requests name; encrypted with the server's secret key."""

    __tablename__ = "secret"
    project_id: Mapped[str] = mapped_column(
        ForeignKey("project.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    ciphertext: Mapped[str]
    version: Mapped[int] = mapped_column()
    updated_at: Mapped[datetime]
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as above


class Audit(OfProject, Base):
    """One change that somebody made: who, what, when; rows are never changed."""

    __tablename__ = "audit"
    number: Mapped[int] = mapped_column(BigInt, primary_key=True)
    project_id: Mapped[str]
    at: Mapped[datetime]
    key_id: Mapped[str]
    action: Mapped[str]
    resource: Mapped[str]
    detail: Mapped[dict[str, Json]]
    __table_args__ = (Index(None, "project_id", "number"),)


class IdempotentReply(OfProject, Base):
    """What a POST with an idempotency key was answered; `status` 0 while it runs."""

    __tablename__ = "idempotent_reply"
    project_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int]
    headers: Mapped[dict[str, Json]]
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(index=True)


# --- what calls run ---


class Flow(OfProject, Base):
    """A flow's draft; what is published stands in `flow_version`."""

    __tablename__ = "flow"
    project_id: Mapped[str] = mapped_column(
        ForeignKey("project.id", ondelete="CASCADE"), primary_key=True
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    draft: Mapped[dict[str, Json]]
    version: Mapped[int] = mapped_column()
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as above


class FlowVersion(OfProject, Base):
    """A published flow; never changed."""

    __tablename__ = "flow_version"
    project_id: Mapped[str] = mapped_column(primary_key=True)
    flow_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[str]
    document: Mapped[dict[str, Json]]
    subflows: Mapped[dict[str, Json]]
    """The versions of the flows that it calls, by id, as they were when it was published."""
    message: Mapped[str]
    author: Mapped[str]
    created_at: Mapped[datetime]
    __table_args__ = (
        ForeignKeyConstraint(
            ["project_id", "flow_id"], ["flow.project_id", "flow.id"], ondelete="CASCADE"
        ),
    )


class FlowTag(OfProject, Base):
    """A name such as `production` for one version of a flow; it is moved, not the version."""

    __tablename__ = "flow_tag"
    project_id: Mapped[str] = mapped_column(primary_key=True)
    flow_id: Mapped[str] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    version: Mapped[int] = mapped_column()
    updated_at: Mapped[datetime]
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as above
    __table_args__ = (
        ForeignKeyConstraint(
            ["project_id", "flow_id", "number"],
            ["flow_version.project_id", "flow_version.flow_id", "flow_version.number"],
            ondelete="CASCADE",
        ),
    )


class Number(OfProject, Base):
    """A phone number that calls come in on, and the table by which they are routed."""

    __tablename__ = "number"
    e164: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    carrier: Mapped[str]
    label: Mapped[str]
    routes: Mapped[dict[str, Json]]
    version: Mapped[int] = mapped_column()
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as above
    __table_args__ = (Index(None, "project_id", "e164"),)


passage = Table(
    "passage",
    metadata,
    Column("collection", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file", Text, nullable=False),
    Column("heading", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("lexemes", Text, nullable=False),
)
"""Passages of flows' files, searched on PostgreSQL; `lexemes` is a tsvector as text."""


# --- calls ---

call = Table(
    "call",
    metadata,
    Column("number", BigInt, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("carrier", Text, nullable=False),
    Column("carrier_sid", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("from_number", Text, nullable=False),
    Column("to_number", Text, nullable=False),
    Column("flow_id", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("flow", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("disposition", Text, nullable=False),
    Column("pending", Text),
    Column("nonce", Text),
    Column("project_id", Text, nullable=False, server_default=DEFAULT_PROJECT),
    Column("flow_version", Integer),
    Column("variables", Text, nullable=False, server_default="{}"),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Index(
        "call_sid",
        "carrier",
        "carrier_sid",
        unique=True,
        sqlite_where=text("carrier_sid <> ''"),
        postgresql_where=text("carrier_sid <> ''"),
    ),
    Index("call_of_project", "project_id", "number"),
    Index("call_of_flow", "project_id", "flow_id", "number"),
    Index("call_from", "project_id", "from_number", "number"),
    Index("call_to", "project_id", "to_number", "number"),
    Index("call_with_status", "project_id", "status", "number"),
    Index("call_with_disposition", "project_id", "disposition", "number"),
    Index("call_by_direction", "project_id", "direction", "number"),
    Index("call_since", "project_id", "created_at", "number"),
)
"""`flow` is the document that the call is pinned to; `number` counts calls, latest last."""

call_event = Table(
    "call_event",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("family", Text, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

call_checkpoint = Table(
    "call_checkpoint",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

call_turn = Table(
    "call_turn",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("role", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""A call's transcript: what caller and bot said, in order. `detail` is JSON."""

live_event = Table(
    "live_event",
    metadata,
    Column("number", BigInt, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("body", Text, nullable=False),
    Index("live_event_of_project", "project_id", "number"),
    Index("live_event_of_call", "call_id", "number"),
    sqlite_autoincrement=True,
)
"""What `GET /v1/events` streams, over all calls; `number` is the id to resume from. Numbers are
given out in the order of commits: see `feed`."""


call_command = Table(
    "call_command",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("refused", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("call_command_waiting", "state", "id"),
)
"""What is asked of calls that another process holds; `state`: waiting, taken, answered."""


class Recording(OfProject, Base):
    """A call's sound, wherever it is kept."""

    __tablename__ = "recording"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    call_id: Mapped[str] = mapped_column(index=True)
    place: Mapped[str]
    """Its key in the recordings' store."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    length_ms: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(index=True)


# --- campaigns and webhooks ---


class Campaign(OfProject, Base):
    """An outbound list: who is called with which flow, when and how often."""

    __tablename__ = "campaign"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    name: Mapped[str]
    state: Mapped[str]
    settings: Mapped[dict[str, Json]]
    version: Mapped[int] = mapped_column()
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as above
    __table_args__ = (Index(None, "project_id", "id"),)


class Contact(OfProject, Base):
    """Somebody whom a campaign calls."""

    __tablename__ = "contact"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    phone: Mapped[str]
    time_zone: Mapped[str | None]
    state: Mapped[str]
    attempts: Mapped[int]
    next_at: Mapped[datetime | None]
    variables: Mapped[dict[str, Json]]
    created_at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("campaign_id", "phone"),
        Index(None, "campaign_id", "state", "time_zone", "next_at"),
        Index(None, "project_id", "phone"),
    )


class WebhookEndpoint(OfProject, Base):
    """An address that is told what happens; its signing secret is encrypted."""

    __tablename__ = "webhook_endpoint"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    url: Mapped[str]
    events: Mapped[list[str]]
    is_active: Mapped[bool]
    secret: Mapped[str]
    version: Mapped[int] = mapped_column()
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - as above
    __table_args__ = (Index(None, "project_id", "id"),)


class WebhookDelivery(OfProject, Base):
    """One event on its way to one endpoint."""

    __tablename__ = "webhook_delivery"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    event_id: Mapped[str]
    event_type: Mapped[str] = mapped_column(String(80))
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str]
    attempts: Mapped[int]
    next_at: Mapped[datetime | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str]
    created_at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_id"),
        Index(None, "state", "next_at"),
        Index(None, "endpoint_id", "id"),
    )


def as_dict(row: Base) -> dict[str, Any]:
    """A mapped row's columns by name."""
    return {column.key: getattr(row, column.key) for column in row.__mapper__.column_attrs}
