"""Keep how sure answers are, and the decisions that they lead to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serving.answers.tables import MaybeJson

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision. Answers that are there have nothing in the new columns."""
    for table in ("answers", "current_answers"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column("prediction_set", MaybeJson, nullable=True))
            batch_op.add_column(sa.Column("answer_text", sa.Text(), nullable=True))
            batch_op.add_column(sa.Column("prediction_interval", MaybeJson, nullable=True))
            batch_op.add_column(sa.Column("unfamiliar", sa.Text(), nullable=True))
            batch_op.add_column(sa.Column("decisions", MaybeJson, nullable=True))
    with op.batch_alter_table("learners", schema=None) as batch_op:
        batch_op.add_column(sa.Column("decisions", MaybeJson, nullable=True))
    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("trust", MaybeJson, nullable=True))


def downgrade() -> None:
    """Takes it back."""
    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.drop_column("trust")
    with op.batch_alter_table("learners", schema=None) as batch_op:
        batch_op.drop_column("decisions")
    for table in ("current_answers", "answers"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column("decisions")
            batch_op.drop_column("unfamiliar")
            batch_op.drop_column("prediction_interval")
            batch_op.drop_column("answer_text")
            batch_op.drop_column("prediction_set")
