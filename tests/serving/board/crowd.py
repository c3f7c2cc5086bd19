"""A PostgreSQL database with a hundred thousand learners, written by the server itself."""

from __future__ import annotations

from sqlalchemy import Engine, text

from tests.serving.answers.classroom import NOW

LEARNERS = 100_000
GROUP_SIZE = 200

# Needs are spread evenly; each is different, as those of a model are.
_NEED = "(((l * 7919 + u * 104729) % 1000003) / 1000003.0)"
_ANSWER = """
    'learner-' || lpad(l::text, 6, '0') AS learner_id, 'unit-' || u AS unit_id,
    (ARRAY['not_mastered', 'partial', 'proficient'])[3 - floor({need} * 3)::int] AS predicted_class,
    jsonb_build_array({need}, (1 - {need}) / 2, (1 - {need}) / 2) AS probabilities, {need} AS need
""".replace("{need}", _NEED)

_STATEMENTS = (
    """INSERT INTO model_versions (id, model, version, classes, metrics)
    VALUES (1, 'sample', 7, '["not_mastered", "partial", "proficient"]', '{}')""",
    """INSERT INTO scorings (id, version_id, as_of, started_at, answers)
    VALUES (1, 1, :now, :now, 0)""",
    """INSERT INTO groups (group_id, name)
    SELECT 'group-' || g, 'Group ' || g FROM generate_series(0, :groups - 1) g""",
    """INSERT INTO units (unit_id, title, prerequisites)
    SELECT 'unit-' || u, 'Unit ' || u, '[]' FROM generate_series(0, :units - 1) u""",
    f"""INSERT INTO current_answers (learner_id, unit_id, as_of, version_id, predicted_class,
        probabilities, need, basis, reasons, scored_at, since, group_id, last_event_at)
    SELECT a.learner_id, a.unit_id, :now, 1, a.predicted_class, a.probabilities, a.need,
        'sequence', '[]', :now, :now, 'group-' || (l / :size), :now
    FROM generate_series(0, :learners - 1) l, generate_series(0, :units - 1) u,
        LATERAL (SELECT {_ANSWER}) a""",
    """INSERT INTO learners (learner_id, name, group_id, unit_id, predicted_class, need, units,
        last_event_at)
    SELECT DISTINCT ON (learner_id) learner_id, initcap(learner_id), group_id, unit_id,
        predicted_class, need, :units, last_event_at
    FROM current_answers ORDER BY learner_id, need DESC""",
    """INSERT INTO answers (learner_id, unit_id, as_of, version_id, scoring_id, predicted_class,
        probabilities, need, basis, reasons, scored_at)
    SELECT learner_id, unit_id, as_of - d * interval '1 day', 1, 1, predicted_class,
        probabilities, need, basis, reasons, scored_at
    FROM current_answers, generate_series(0, :days - 1) d""",
    """INSERT INTO component_results (learner_id, unit_id, component, answered, correct, mastery,
        group_id, updated_at)
    SELECT learner_id, unit_id, unit_id || '-a', 10, 4, 0.4, group_id, as_of
    FROM current_answers""",
    """INSERT INTO actions (learner_id, unit_id, kind, note, "user", at, as_of, version_id,
        predicted_class, key)
    SELECT learner_id, unit_id, 'called', '', 'user-' || (n % 500), :now - n * interval '1 minute',
        as_of, 1, l.predicted_class, n
    FROM (SELECT *, row_number() OVER (ORDER BY learner_id) AS n FROM learners) l
    JOIN current_answers USING (learner_id, unit_id) WHERE n <= 20000""",
)


def fill(engine: Engine, *, units: int = 2, days: int = 1, learners: int = LEARNERS) -> None:
    """Fills an empty database; all answers are as of the classroom's `NOW`."""
    given = {
        "now": NOW, "units": units, "days": days, "learners": learners, "size": GROUP_SIZE,
        "groups": learners // GROUP_SIZE,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL synchronous_commit = off"))
        for statement in _STATEMENTS:
            connection.execute(text(statement), given)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
