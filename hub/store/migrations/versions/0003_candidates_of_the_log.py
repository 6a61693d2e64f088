"""candidates of the log: checkpoints put before the witnesses"""

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


def downgrade() -> None:
    op.drop_table("log_candidates")
