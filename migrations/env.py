"""Run migrations on the connection that `storage.schema` hands over, in its transaction."""

from alembic import context

from storage.database.tables import Base

connection = context.config.attributes["connection"]
if connection is None:
    raise SystemExit("Run migrations with `marble db upgrade`; see docs/storage.md.")

context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    compare_type=True,
)
context.run_migrations()
