"""Clients, and what they were charged for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "r001", None


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("budget", sa.BigInteger),
        sa.Column("used", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("rate", sa.Double),
        sa.Column("burst", sa.Double),
        sa.Column("tokens", sa.Double, nullable=False, server_default="0"),
        sa.Column("filled", sa.Double, nullable=False, server_default="0"),
        sa.Column("made", sa.Double, nullable=False),
        sa.Column("revoked", sa.Double),
        sa.UniqueConstraint("name", name="uq_clients_name"),
        sa.UniqueConstraint("hash", name="uq_clients_hash"),
    )
    op.create_table(
        "charges",
        sa.Column("client", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("replays", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("ix_charges_at", "charges", ["at"])
