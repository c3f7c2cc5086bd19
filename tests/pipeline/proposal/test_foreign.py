"""`mastery init` on exports that it has never heard of."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from components.config.outcomes import DerivedOutcomes
from components.event_log.log import check_log, read_log
from tests.pipeline.proposal.conftest import Init
from tests.pipeline.proposal.foreign import abilities, visits, write_answers, write_clicks
from tests.pipeline.proposal.foreign import write_german as write_german_export


def test_a_german_export_is_read_with_its_marks_words_and_grades(
    init: Init, tmp_path: Path
) -> None:
    write_german_export(tmp_path / "schule")
    config = init(tmp_path / "schule")
    data = config.data
    assert (data.csv.delimiter, data.csv.encoding, data.csv.decimal) == (";", "cp1252", ",")
    assert data.event_mapping is not None
    ways = {name: ways[0] for name, ways in data.event_mapping.columns.items()}
    assert ways["learner_id"].from_ == "Schüler-ID"
    assert ways["unit_id"].from_ == "Kurs"
    assert ways["event_type"].from_ == "Aktivität"
    assert (ways["time"].from_, ways["time"].format) == ("Zeitpunkt", "%d.%m.%Y %H:%M:%S")
    assert ways["dwell_seconds"].from_ == '"Dauer in s"'
    assert ways["correct"].values == {"ja": "1", "nein": "0"}
    assert "E-Mail" not in str(data.event_mapping)

    derived = data.derived
    assert derived is not None
    assert (derived.derive, derived.column) == ("grade", "Note")
    assert config.label.classes == ["passed", "not_passed"]
    assert [item.class_ for item in config.decisions] == ["not_passed"]
    assert "Geschlecht" in config.protected

    log = read_log(config, splits=True, keys_only=False)
    truth = list(visits(250, 3, 1))
    events = log.part.windows.events
    assert log.total.count_rows("events") == len(truth)
    right = sum(item.correct for item in truth if item.kind in (1, 2))
    assert events["correct"].sum() == right
    assert abs(events["dwell_seconds"].sum() - sum(item.seconds for item in truth)) < len(truth)


def test_grades_beside_german_events_decide_who_passed(init: Init, tmp_path: Path) -> None:
    write_german_export(tmp_path / "schule")
    outcomes = read_log(init(tmp_path / "schule"), splits=True, keys_only=True).part.outcomes
    names = ("Bruchrechnen", "Größen", "Zinsen")
    passed = {
        (f"S{learner:04}", names[unit]): round(max(1.0, min(6.0, 3.5 - 1.2 * ability)), 1) < 4.05
        for (learner, unit), ability in abilities(250, 3, 1).items()
    }
    rows = outcomes.select("learner_id", "unit_id", "result").unique().iter_rows()
    assert {(learner, unit): result == "passed" for learner, unit, result in rows} == passed


def test_daily_clicks_of_courses_in_several_terms(init: Init, tmp_path: Path) -> None:
    write_clicks(tmp_path / "clicks")
    config = init(tmp_path / "clicks")
    mapping = config.data.event_mapping
    assert mapping is not None
    assert mapping.columns["learner_id"][0].from_ == "id_student"
    assert mapping.columns["unit_id"][0].template == "{code_module} {code_presentation}"
    assert mapping.columns["time"][0].from_ == "date"
    derived = config.data.derived
    assert derived is not None
    assert (derived.derive, derived.column, derived.after) == ("grade", "final_result", "clock")
    assert config.label.classes == ["Withdrawn", "Fail", "Pass", "Distinction"]
    assert {"gender", "region"} <= {name for names in config.evaluation.slices for name in names}
    assert "region" not in config.context
    summary = check_log(config)
    assert (summary.learners, summary.units, summary.clock) == (400, 3, "integer")


def test_answers_of_a_tutor_become_the_outcome(init: Init, tmp_path: Path) -> None:
    write_answers(tmp_path / "tutor")
    config = init(tmp_path / "tutor")
    columns = config.data.columns
    assert (columns.learner_id, columns.unit_id, columns.time) == (
        "user_id",
        "skill_name",
        "start_time",
    )
    derived = config.data.derived
    assert isinstance(derived, DerivedOutcomes)
    assert (derived.derive, derived.next, derived.cuts) == ("next_answers", 5, [2, 4])
    assert derived.answer_column == "correct"
    assert config.label.classes == ["not_mastered", "partial", "proficient"]
    features = config.steps.features
    assert features["problem_id"].type == "categorical"
    assert features["ms_first_response"].log  # type: ignore[union-attr]
    assert not {name for name in features if "FRUSTRATED" in name}
    assert "problem_log_id" not in features


def test_a_file_of_outcomes_beside_the_events_is_found(init: Init, tmp_path: Path) -> None:
    write_clicks(tmp_path / "clicks")
    (tmp_path / "clicks" / "notes.csv").write_text("page,author\n1,me\n2,you\n")
    config = init(tmp_path / "clicks" / "studentVle.csv")
    assert config.data.outcome_files == [str(tmp_path / "clicks" / "studentInfo.csv")]


def test_the_outcome_can_be_chosen(init: Init, tmp_path: Path) -> None:
    write_answers(tmp_path / "tutor")
    config = init(tmp_path / "tutor", "--outcome", "inactivity")
    derived = config.data.derived
    assert derived is not None
    assert derived.derive == "inactivity"
    assert config.label.classes == ["inactive", "active"]
    counts = check_log(config).splits["test"]
    assert min(counts.values()) >= 20


def test_columns_can_be_named(init: Init, tmp_path: Path) -> None:
    events = [
        (f"x{item.learner}", f"y{item.unit}", int(item.time.timestamp()))
        for item in visits(200, 2, 5)
    ]
    frame = pl.DataFrame(events, schema=["a", "b", "c"], orient="row")
    frame.write_csv(tmp_path / "odd.csv")
    config = init(tmp_path / "odd.csv", "--learner", "a", "--unit", "b", "--time", "c")
    columns = config.data.columns
    assert (columns.learner_id, columns.unit_id, columns.time) == ("a", "b", "c")
    derived = config.data.derived
    assert derived is not None
    assert derived.derive == "inactivity"
    assert all(moment.endswith("d") for moment in derived.at)


def test_doubtful_dates_are_said_to_be(init: Init, tmp_path: Path) -> None:
    lines = ["user_id,course,date,correct"]
    for learner in range(300):
        for day in range(1, 13):
            right = int((learner * 7 + day * day) % 5 < learner % 5)
            lines.append(f"u{learner},c,{day:02}/05/2024,{right}")
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    config = init(tmp_path / "log.csv")
    mapping = config.data.event_mapping
    assert mapping is not None
    assert mapping.columns["time"][0].format == "%d/%m/%Y"
    assert "month first" in (tmp_path / "proposed" / "log.yaml").read_text()
