"""Runs migrations on the app's database: the configured one, or the embedded one."""

from alembic import context
from sqlalchemy import create_engine, pool, text
from sqlmodel import SQLModel

import billing_app.db.tables  # noqa: F401
from billing_app.db import poolers
from billing_app.db.embedded import database_url
from billing_app.settings import load_settings

LOCK_TIMEOUT = "5s"
PARTITIONS = "execution_events_"
OTHER_SCHEMAS = {"dbos"}


def _is_compared(name: str | None, kind: str, _: object) -> bool:
    """Partitions come and go."""
    return kind != "table" or not (name or "").startswith(PARTITIONS)


def run() -> None:
    url = context.config.attributes.get("url") or database_url(load_settings())
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        poolclass=pool.NullPool,
        connect_args={"options": f"-c lock_timeout={LOCK_TIMEOUT}"},
    )
    with engine.connect() as connection:
        if connection.scalar(text("SHOW lock_timeout")) != LOCK_TIMEOUT:
            raise poolers.PoolerError(poolers.lost(["lock_timeout"]))
        # Of no meaning to PostgreSQL; Citus would refuse migrations that touch a trigger.
        connection.execute(text("SET citus.enable_unsafe_triggers = on"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=SQLModel.metadata,
            compare_type=True,
            include_name=_is_compared,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


if context.is_offline_mode():
    raise SystemExit("Migrations run on a database; offline SQL is not written.")
run()
