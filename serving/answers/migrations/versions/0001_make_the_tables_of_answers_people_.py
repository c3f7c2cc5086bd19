"""Make the tables of answers, people, actions and messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from serving.answers.tables import Id, Json, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the revision."""
    op.create_table(
        "component_results",
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("correct", sa.Integer(), nullable=False),
        sa.Column("mastery", sa.Double(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint(
            "learner_id", "unit_id", "component", name=op.f("pk_component_results")
        ),
    )
    with op.batch_alter_table("component_results", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_component_results_group_id_component"),
            ["group_id", "component"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_component_results_unit_id_component_mastery"),
            ["unit_id", "component", "mastery"],
            unique=False,
        )

    op.create_table(
        "component_sums",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("learners", sa.Integer(), nullable=False),
        sa.Column("mastery", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "unit_id", "component", name=op.f("pk_component_sums")),
    )
    with op.batch_alter_table("component_sums", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_component_sums_unit_id_component"),
            ["unit_id", "component"],
            unique=False,
        )

    op.create_table(
        "daily_activity",
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("correct", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(
            "learner_id", "unit_id", "day", "event_type", name=op.f("pk_daily_activity")
        ),
    )
    op.create_table(
        "groups",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("group_id", name=op.f("pk_groups")),
    )
    op.create_table(
        "model_versions",
        sa.Column("id", Id, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", Id, nullable=False),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("pushed_at", UtcTime(), nullable=True),
        sa.Column("classes", Json, nullable=False),
        sa.Column("metrics", Json, nullable=False),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("card", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("model", "version", name=op.f("uq_model_versions_model_version")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Id, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("payload", Json, nullable=False),
        sa.Column("learner_ids", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("not_before", UtcTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", UtcTime(), nullable=True),
        sa.Column("given_up_at", UtcTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("key", name=op.f("uq_outbox_key")),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(
            "ix_outbox_given_up",
            ["channel", "id"],
            unique=False,
            postgresql_where=sa.text("given_up_at IS NOT NULL"),
            sqlite_where=sa.text("given_up_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_outbox_waiting",
            ["channel", "id"],
            unique=False,
            postgresql_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
            sqlite_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
        )

    op.create_table(
        "served_answers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", Id, nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("answer", Json, nullable=False),
        sa.Column("latency", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_served_answers")),
    )
    with op.batch_alter_table("served_answers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_served_answers_at"), ["at"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("csrf", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_table(
        "unit_sums",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("predicted_class", sa.Text(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("need", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(
            "group_id", "unit_id", "predicted_class", name=op.f("pk_unit_sums")
        ),
    )
    op.create_table(
        "units",
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("course", sa.Text(), nullable=True),
        sa.Column("prerequisites", Json, nullable=False),
        sa.PrimaryKeyConstraint("unit_id", name=op.f("pk_units")),
    )
    op.create_table(
        "users",
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("user", name=op.f("pk_users")),
    )
    op.create_table(
        "actions",
        sa.Column("id", Id, nullable=False),
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("predicted_class", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("snooze_until", UtcTime(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_actions_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
        sa.UniqueConstraint("key", name=op.f("uq_actions_key")),
    )
    with op.batch_alter_table("actions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_actions_learner_id_at"), ["learner_id", "at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_actions_user_at"), ["user", "at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_actions_version_id_kind"), ["version_id", "kind"], unique=False
        )

    op.create_table(
        "alerts",
        sa.Column("id", Id, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_alerts_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alerts_rule_at"), ["rule", "at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_alerts_rule_learner_id_at"), ["rule", "learner_id", "at"], unique=False
        )

    op.create_table(
        "current_answers",
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("predicted_class", sa.Text(), nullable=True),
        sa.Column("probabilities", Json, nullable=False),
        sa.Column("prediction", sa.Double(), nullable=True),
        sa.Column("need", sa.Double(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("reasons", Json, nullable=False),
        sa.Column("scored_at", UtcTime(), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("previous_class", sa.Text(), nullable=True),
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.Column("first_event_at", UtcTime(), nullable=True),
        sa.Column("last_event_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_current_answers_version_id")
        ),
        sa.PrimaryKeyConstraint("learner_id", "unit_id", name=op.f("pk_current_answers")),
    )
    with op.batch_alter_table("current_answers", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_current_answers_group_id_need"), ["group_id", "need"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_current_answers_group_id_unit_id_need"),
            ["group_id", "unit_id", "need"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_current_answers_need"), ["need"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_current_answers_unit_id_need"), ["unit_id", "need"], unique=False
        )

    op.create_table(
        "daily_counts",
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("predicted_class", sa.Text(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("need", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_daily_counts_version_id")
        ),
        sa.PrimaryKeyConstraint(
            "as_of",
            "version_id",
            "group_id",
            "unit_id",
            "predicted_class",
            name=op.f("pk_daily_counts"),
        ),
    )
    op.create_table(
        "learners",
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.Column("unit_id", sa.Text(), nullable=True),
        sa.Column("predicted_class", sa.Text(), nullable=True),
        sa.Column("need", sa.Double(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("last_event_at", UtcTime(), nullable=True),
        sa.Column("snoozed_until", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"], ["groups.group_id"], name=op.f("fk_learners_group_id")
        ),
        sa.PrimaryKeyConstraint("learner_id", name=op.f("pk_learners")),
    )
    with op.batch_alter_table("learners", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_learners_group_id_need"), ["group_id", "need"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_learners_need"), ["need"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_learners_predicted_class_need"),
            ["predicted_class", "need"],
            unique=False,
        )

    op.create_table(
        "memberships",
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.group_id"],
            name=op.f("fk_memberships_group_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user"], ["users.user"], name=op.f("fk_memberships_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user", "group_id", name=op.f("pk_memberships")),
    )
    op.create_table(
        "outcome_sums",
        sa.Column("version_id", Id, nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("totals", Json, nullable=False),
        sa.Column("products", Json, nullable=False),
        sa.Column("learners", Json, nullable=False),
        sa.Column("confusion", Json, nullable=False),
        sa.Column("calibration", Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_outcome_sums_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", "group_id", "month", name=op.f("pk_outcome_sums")),
    )
    op.create_table(
        "outcomes",
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("version_id", Id, nullable=True),
        sa.Column("answered_as_of", UtcTime(), nullable=True),
        sa.Column("predicted_class", sa.Text(), nullable=True),
        sa.Column("prediction", sa.Double(), nullable=True),
        sa.Column("lowest_probability", sa.Double(), nullable=True),
        sa.Column("rule_warned", sa.Boolean(), nullable=True),
        sa.Column("group_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_outcomes_version_id")
        ),
        sa.PrimaryKeyConstraint("learner_id", "unit_id", "as_of", name=op.f("pk_outcomes")),
    )
    with op.batch_alter_table("outcomes", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_outcomes_group_id_as_of"), ["group_id", "as_of"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_outcomes_version_id_as_of"), ["version_id", "as_of"], unique=False
        )

    op.create_table(
        "scorings",
        sa.Column("id", Id, nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_scorings_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scorings")),
    )
    op.create_table(
        "answers",
        sa.Column("learner_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("as_of", UtcTime(), nullable=False),
        sa.Column("version_id", Id, nullable=False),
        sa.Column("scoring_id", Id, nullable=False),
        sa.Column("predicted_class", sa.Text(), nullable=True),
        sa.Column("probabilities", Json, nullable=False),
        sa.Column("prediction", sa.Double(), nullable=True),
        sa.Column("need", sa.Double(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("reasons", Json, nullable=False),
        sa.Column("scored_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["scoring_id"], ["scorings.id"], name=op.f("fk_answers_scoring_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_answers_version_id")
        ),
        sa.PrimaryKeyConstraint(
            "learner_id", "unit_id", "as_of", "version_id", name=op.f("pk_answers")
        ),
    )
    with op.batch_alter_table("answers", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_answers_version_id_as_of"), ["version_id", "as_of"], unique=False
        )


def downgrade() -> None:
    """Takes it back."""
    with op.batch_alter_table("answers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_answers_version_id_as_of"))

    op.drop_table("answers")
    op.drop_table("scorings")
    with op.batch_alter_table("outcomes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_outcomes_version_id_as_of"))
        batch_op.drop_index(batch_op.f("ix_outcomes_group_id_as_of"))

    op.drop_table("outcomes")
    op.drop_table("outcome_sums")
    op.drop_table("memberships")
    with op.batch_alter_table("learners", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_learners_predicted_class_need"))
        batch_op.drop_index(batch_op.f("ix_learners_need"))
        batch_op.drop_index(batch_op.f("ix_learners_group_id_need"))

    op.drop_table("learners")
    op.drop_table("daily_counts")
    with op.batch_alter_table("current_answers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_current_answers_unit_id_need"))
        batch_op.drop_index(batch_op.f("ix_current_answers_need"))
        batch_op.drop_index(batch_op.f("ix_current_answers_group_id_unit_id_need"))
        batch_op.drop_index(batch_op.f("ix_current_answers_group_id_need"))

    op.drop_table("current_answers")
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alerts_rule_learner_id_at"))
        batch_op.drop_index(batch_op.f("ix_alerts_rule_at"))

    op.drop_table("alerts")
    with op.batch_alter_table("actions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_actions_version_id_kind"))
        batch_op.drop_index(batch_op.f("ix_actions_user_at"))
        batch_op.drop_index(batch_op.f("ix_actions_learner_id_at"))

    op.drop_table("actions")
    op.drop_table("users")
    op.drop_table("units")
    op.drop_table("unit_sums")
    op.drop_table("sessions")
    with op.batch_alter_table("served_answers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_served_answers_at"))

    op.drop_table("served_answers")
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_outbox_waiting",
            postgresql_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
            sqlite_where=sa.text("sent_at IS NULL AND given_up_at IS NULL"),
        )
        batch_op.drop_index(
            "ix_outbox_given_up",
            postgresql_where=sa.text("given_up_at IS NOT NULL"),
            sqlite_where=sa.text("given_up_at IS NOT NULL"),
        )

    op.drop_table("outbox")
    op.drop_table("model_versions")
    op.drop_table("groups")
    op.drop_table("daily_activity")
    with op.batch_alter_table("component_sums", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_component_sums_unit_id_component"))

    op.drop_table("component_sums")
    with op.batch_alter_table("component_results", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_component_results_unit_id_component_mastery"))
        batch_op.drop_index(batch_op.f("ix_component_results_group_id_component"))

    op.drop_table("component_results")
