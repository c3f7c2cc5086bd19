"""Keep the lots of who is held out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serving.answers.tables import Id, UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    op.create_table(
        "assignments",
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("held_out", sa.Boolean(), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.Column("released_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_assignments_version_id")
        ),
        sa.PrimaryKeyConstraint("learner_id", "at", name=op.f("pk_assignments")),
    )
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_assignments_stratum"), ["stratum"], unique=False)
        batch_op.create_index(batch_op.f("ix_assignments_until"), ["until"], unique=False)


def downgrade() -> None:
    """Takes it back."""
    with op.batch_alter_table("assignments", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_assignments_until"))
        batch_op.drop_index(batch_op.f("ix_assignments_stratum"))
    op.drop_table("assignments")
