"""What Alembic runs for an upgrade: the steps, on the connection that it is handed.

The caller has begun the transaction, and ends it: an upgrade is done whole or not at all.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from flowengine.store.tables import metadata


def _run() -> None:
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite cannot alter most things: a table is made anew and its rows copied.
        render_as_batch=True,
        transactional_ddl=True,
    )
    context.run_migrations()


_run()
