"""What Alembic runs for each of its commands; ``run.py`` gives it connection and metadata."""

from typing import Any

from alembic import context

given = context.config.attributes
options: dict[str, Any] = {
    "target_metadata": given.get("metadata"),
    # What is done stays done if a later revision fails or has to wait for a lock.
    "transaction_per_migration": True,
    "on_version_apply": given.get("on_version_apply"),
}
if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, **options)
else:
    context.configure(connection=given["connection"], **options)
with context.begin_transaction():
    context.run_migrations()
