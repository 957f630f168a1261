"""Images that wait for a person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "r003", "r002"


def upgrade() -> None:
    op.create_table(
        "held",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("hold", sa.String(43), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("client", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("why", sa.String(400), nullable=False),
        sa.Column("images", sa.LargeBinary),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("decision", sa.String(16)),
        sa.Column("by", sa.String(100)),
        sa.Column("decided", sa.Double),
    )
    op.create_index("ix_held_hold", "held", ["hold"])
    op.create_index("ix_held_decision", "held", ["decision"])
