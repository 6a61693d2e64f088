"""jobs: reviewed code and its sealed blobs"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("job"),
    )
    op.create_table(
        "job_blobs",
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("put_at", sa.BigInteger(), nullable=False),
        sa.Column("reader", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("owner", "digest"),
    )
    op.create_index("job_blobs_by_reader", "job_blobs", ["reader", "digest"])


def downgrade() -> None:
    op.drop_table("job_blobs")
    op.drop_table("jobs")
