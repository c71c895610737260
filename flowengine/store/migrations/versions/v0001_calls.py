"""Calls, their journals and their checkpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the three tables that calls need."""
    op.create_table(
        "call",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in (
                "id",
                "carrier",
                "carrier_sid",
                "direction",
                "from_number",
                "to_number",
                "flow_id",
                "version",
                "flow",
                "status",
            )
        ),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Text),
        sa.Column("disposition", sa.Text, nullable=False),
        sa.Column("pending", sa.Text),
        sa.Column("nonce", sa.Text),
        sa.PrimaryKeyConstraint("number", name="pk_call"),
        sa.UniqueConstraint("id", name="uq_call_id"),
    )
    has_sid = sa.text("carrier_sid <> ''")
    op.create_index(
        "call_sid",
        "call",
        ["carrier", "carrier_sid"],
        unique=True,
        sqlite_where=has_sid,
        postgresql_where=has_sid,
    )
    op.create_table(
        "call_event",
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("call_id", "seq", name="pk_call_event"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "call_checkpoint",
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_call_checkpoint"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them, and every call with them."""
    op.drop_table("call_checkpoint")
    op.drop_table("call_event")
    op.drop_table("call")
