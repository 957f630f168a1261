"""Traces of the latents that clients asked for lately."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "r005", "r004"


def upgrade() -> None:
    op.create_table(
        "asked",
        sa.Column("client", sa.Integer, primary_key=True),
        sa.Column("serial", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("traces", sa.LargeBinary, nullable=False),
    )
