"""Operators who are signed in to the page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "r004", "r003"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("client", sa.Integer, nullable=False),
        sa.Column("form", sa.String(43), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
