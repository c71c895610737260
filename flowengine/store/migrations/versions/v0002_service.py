"""What the service keeps: projects, keys, flows and versions, numbers, campaigns, webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make them, and let calls belong to a project."""
    _access()
    _flows()
    _of_calls()
    _outbound()
    _extend_call()


def _access() -> None:
    op.create_table(
        "project",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("prefix", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_api_key_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("prefix", name="uq_api_key_prefix"),
    )
    op.create_index("ix_api_key_project_id_id", "api_key", ["project_id", "id"])
    op.create_table(
        "secret",
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("ciphertext", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_secret_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "name", name="pk_secret"),
    )
    op.create_table(
        "audit",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("resource", sa.String, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    op.create_index("ix_audit_project_id_number", "audit", ["project_id", "number"])
    op.create_table(
        "idempotent_reply",
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("request_hash", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("headers", JSON, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "key", name="pk_idempotent_reply"),
    )
    op.create_index("ix_idempotent_reply_created_at", "idempotent_reply", ["created_at"])


def _flows() -> None:
    op.create_table(
        "flow",
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("draft", JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_flow_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "id", name="pk_flow"),
    )
    op.create_table(
        "flow_version",
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("flow_id", sa.String, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("document", JSON, nullable=False),
        sa.Column("subflows", JSON, nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "flow_id"],
            ["flow.project_id", "flow.id"],
            name="fk_flow_version_project_id_flow_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", "flow_id", "number", name="pk_flow_version"),
    )
    op.create_table(
        "flow_tag",
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("flow_id", sa.String, nullable=False),
        sa.Column("tag", sa.String, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "flow_id", "number"],
            ["flow_version.project_id", "flow_version.flow_id", "flow_version.number"],
            name="fk_flow_tag_project_id_flow_id_number",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", "flow_id", "tag", name="pk_flow_tag"),
    )
    op.create_table(
        "number",
        sa.Column("e164", sa.String, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("carrier", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("routes", JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_number_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("e164", name="pk_number"),
    )
    op.create_index("ix_number_project_id_e164", "number", ["project_id", "e164"])
    op.create_table(
        "passage",
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("heading", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("lexemes", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("collection", "number", name="pk_passage"),
    )


def _of_calls() -> None:
    op.create_table(
        "call_turn",
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("call_id", "number", name="pk_call_turn"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "live_event",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_live_event"),
        sqlite_autoincrement=True,
    )
    op.create_index("live_event_of_call", "live_event", ["call_id", "number"])
    op.create_index("live_event_of_project", "live_event", ["project_id", "number"])
    op.create_table(
        "recording",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("call_id", sa.String, nullable=False),
        sa.Column("place", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("length_ms", sa.BigInteger, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recording"),
    )
    op.create_index("ix_recording_call_id", "recording", ["call_id"])
    op.create_index("ix_recording_created_at", "recording", ["created_at"])


def _outbound() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_campaign_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_campaign"),
    )
    op.create_index("ix_campaign_project_id_id", "campaign", ["project_id", "id"])
    op.create_table(
        "contact",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("campaign_id", sa.String, nullable=False),
        sa.Column("phone", sa.String, nullable=False),
        sa.Column("time_zone", sa.String, nullable=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.Column("variables", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name="fk_contact_campaign_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_contact"),
        sa.UniqueConstraint("campaign_id", "phone", name="uq_contact_campaign_id_phone"),
    )
    op.create_index(
        "ix_contact_campaign_id_state_time_zone_next_at",
        "contact",
        ["campaign_id", "state", "time_zone", "next_at"],
    )
    op.create_index("ix_contact_project_id_phone", "contact", ["project_id", "phone"])
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("events", JSON, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("secret", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name="fk_webhook_endpoint_project_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoint"),
    )
    op.create_index("ix_webhook_endpoint_project_id_id", "webhook_endpoint", ["project_id", "id"])
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("project_id", sa.String, nullable=False),
        sa.Column("endpoint_id", sa.String, nullable=False),
        sa.Column("event_id", sa.String, nullable=False),
        sa.Column("event_type", sa.String(length=80), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.Column("last_status", sa.Integer, nullable=True),
        sa.Column("last_error", sa.String, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoint.id"],
            name="fk_webhook_delivery_endpoint_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_delivery"),
        sa.UniqueConstraint(
            "endpoint_id", "event_id", name="uq_webhook_delivery_endpoint_id_event_id"
        ),
    )
    op.create_index("ix_webhook_delivery_endpoint_id_id", "webhook_delivery", ["endpoint_id", "id"])
    op.create_index("ix_webhook_delivery_state_next_at", "webhook_delivery", ["state", "next_at"])


def _extend_call() -> None:
    with op.batch_alter_table("call") as batch_op:
        batch_op.add_column(
            sa.Column("project_id", sa.Text, server_default="default", nullable=False)
        )
        batch_op.add_column(sa.Column("flow_version", sa.Integer, nullable=True))
        batch_op.add_column(sa.Column("variables", sa.Text, server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("metadata", sa.Text, server_default="{}", nullable=False))
        batch_op.create_index("call_by_direction", ["project_id", "direction", "number"])
        batch_op.create_index("call_from", ["project_id", "from_number", "number"])
        batch_op.create_index("call_of_flow", ["project_id", "flow_id", "number"])
        batch_op.create_index("call_of_project", ["project_id", "number"])
        batch_op.create_index("call_since", ["project_id", "created_at", "number"])
        batch_op.create_index("call_to", ["project_id", "to_number", "number"])
        batch_op.create_index("call_with_disposition", ["project_id", "disposition", "number"])
        batch_op.create_index("call_with_status", ["project_id", "status", "number"])


def downgrade() -> None:
    """Drop them; what calls need stays."""
    with op.batch_alter_table("call") as batch_op:
        batch_op.drop_index("call_with_status")
        batch_op.drop_index("call_with_disposition")
        batch_op.drop_index("call_to")
        batch_op.drop_index("call_since")
        batch_op.drop_index("call_of_project")
        batch_op.drop_index("call_of_flow")
        batch_op.drop_index("call_from")
        batch_op.drop_index("call_by_direction")
        batch_op.drop_column("metadata")
        batch_op.drop_column("variables")
        batch_op.drop_column("flow_version")
        batch_op.drop_column("project_id")

    op.drop_table("passage")
    op.drop_table("flow_tag")

    op.drop_table("webhook_delivery")
    op.drop_table("flow_version")

    op.drop_table("contact")

    op.drop_table("webhook_endpoint")
    op.drop_table("secret")

    op.drop_table("number")
    op.drop_table("flow")

    op.drop_table("campaign")

    op.drop_table("api_key")

    op.drop_table("recording")
    op.drop_table("project")

    op.drop_table("live_event")

    op.drop_table("idempotent_reply")
    op.drop_table("call_turn")

    op.drop_table("audit")
