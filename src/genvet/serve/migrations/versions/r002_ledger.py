"""The audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "r002", "r001"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "ledger",
        sa.Column("id", number, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary(32), nullable=False),
    )
