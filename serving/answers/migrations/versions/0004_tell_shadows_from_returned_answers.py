"""Tell the answers of shadows in the prediction log from those that were returned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision. Answers that are there were returned."""
    with op.batch_alter_table("served_answers", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("shadow", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        batch_op.create_index(
            batch_op.f("ix_served_answers_shadow_at"), ["shadow", "at"], unique=False
        )


def downgrade() -> None:
    """Takes it back; answers of shadows go, too, since nobody was given them."""
    op.execute("DELETE FROM served_answers WHERE shadow")
    with op.batch_alter_table("served_answers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_served_answers_shadow_at"))
        batch_op.drop_column("shadow")
