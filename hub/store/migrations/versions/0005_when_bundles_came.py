"""bundles: when each was put; those that are here count from now"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bundles", sa.Column("put_at", sa.BigInteger(), nullable=True))
    op.execute(sa.text("UPDATE bundles SET put_at = :now").bindparams(now=int(time.time())))


def downgrade() -> None:
    op.drop_column("bundles", "put_at")
