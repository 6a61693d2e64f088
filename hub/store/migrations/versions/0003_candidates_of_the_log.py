"""candidates of the log: checkpoints put before the witnesses; no index that nobody reads"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_candidates",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("charter", sa.String(length=64), nullable=True),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("quorate_at", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    # Digests are random: each leaf wrote to a page of its own, and nothing was looked up by them.
    op.drop_index("log_entries_by_digest", table_name="log_entries")


def downgrade() -> None:
    op.create_index("log_entries_by_digest", "log_entries", ["digest"])
    op.drop_table("log_candidates")
