"""Real records of Open edX, which packages ship: what becomes of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.platforms.formats import mapping_of
from tests.components.platforms.tracking_logs import filled, read_file
from tests.samples import unpacked

SAMPLES = {
    "book": "bookmark",
    "edx.bookmark.added": "bookmark",
    "edx.certificate.created": "certificate",
    "edx.course.enrollment.activated": "enrolment",
    "edx.course.enrollment.deactivated": "unenrolment",
    "edx.course.student_notes.added": "note",
    "edx.done.toggled(server)": "completion",
    "edx.drag_and_drop_v2.item.dropped": "exercise_step",
    "edx.forum.searched": "forum",
    "edx.forum.thread.created": "forum",
    "edx.grades.problem.submitted": "exercise",
    "edx.problem.hint.demandhint_displayed": "hint",
    "edx.special_exam.timed.attempt.submitted": "exam",
    "edx.ui.lms.sequence.next_selected": "navigation",
    "edx.video.closed_captions.shown": "transcript",
    "load_video": "video_load",
    "openassessmentblock.create_submission": "assignment",
    "page_close": "page_close",
    "pause_video": "video_pause",
    "play_video": "video",
    "problem_check(server)": "exercise",
    "reset_problem": "exercise_reset",
    "save_problem_success": "exercise",
    "seek_video": "video_seek",
    "seq_goto": "navigation",
    "seq_next": "navigation",
    "show_transcript": "transcript",
    "showanswer": "solution",
    "speed_change_video": "video_speed",
    "stop_video": "video_end",
    "textbook.pdf.page.scrolled": "reading",
    "ubc.peer_instruction.original_submitted": "exercise_step",
    "xblock.poll.submitted": "poll",
    # What is left out, with the reason.
    "edx.cohort.created": "staff",
    "edx.done.toggled(browser)": "answers told twice",
    "edx.drag_and_drop_v2.loaded": "without a type of event",
    "edx.grades.problem.rescored(v2)": "staff",
    "edx.special_exam.timed.created": "staff",
    "edx.ui.lms.link_clicked": "without a type of event",
    "edx.user.login(edx)": "without a learner",
    "edx.user.settings.viewed": "without a unit",
    "openassessmentblock.staff_assess": "staff",
    "problem_check(browser)": "answers told twice",
    "problem_graded": "answers told twice",
    "problem_save": "answers told twice",
    "problem_show": "answers told twice",
}


def test_real_records_of_each_kind(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    package = unpacked(
        request.config.cache.mkdir("openedx-caliper-tracking"),
        "openedx-caliper-tracking==0.14.3",
        "88dc3989cb8b31f16418159877379dc6e5d69384e2b5a24521b560e0b5e0535b",
        options=("--only-binary=:all:", "--python-version=27", "--implementation=py", "--abi=none"),
    )
    folder = package / "openedx_caliper_tracking" / "tests" / "current"
    records = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    assert len(records) == 165
    mapping = mapping_of("open_edx").laid_over({}, {"test accounts": None}, {}, {})  # it has "edx"

    log = tmp_path / "tracking.log"
    found = {}
    for name in SAMPLES:
        log.write_text(json.dumps(records[name]), encoding="utf-8")
        rows, left_out, problems = read_file(log, mapping)
        assert problems == []
        (found[name],) = [*(row["event_type"] for row in rows), *left_out]
    assert found == SAMPLES

    log.write_text("\n".join(map(json.dumps, records.values())), encoding="utf-8")
    rows, left_out, problems = read_file(log, mapping)
    assert len(rows) + sum(left_out.values()) == len(records)
    assert problems == []
    assert {row["playback_speed"] for row in rows} == {None, "0.75"}
    assert "605.734101" in {row["dwell_seconds"] for row in rows}
    assert all(row["learner_id"].isdecimal() for row in rows)
    assert all(row["unit_id"].startswith("course-v1:") for row in rows)


def test_a_real_log_with_a_logger_s_lines(request: pytest.FixtureRequest) -> None:
    package = unpacked(
        request.config.cache.mkdir("edx-event-routing-backends"),
        "edx-event-routing-backends==10.1.0",
        "11e375c1051a28b3126046fe2a6793b1773022c77a14c606e5d077a17cc6907c",
        options=("--no-binary=:all:", "--ignore-requires-python"),
    )
    (source,) = package.rglob("commands/tests/fixtures/tracking.log")
    rows, left_out, problems = read_file(source)
    assert [filled(row) for row in rows] == [
        {
            "event_type": "exercise",
            "component": "932e6f2ce8274072a355a94560216d1a",
            "completed": "1",
            "correct": "1",
            "score": "1.0",
        }
    ]
    assert left_out == {"answers told twice": 3, "grades computed anew": 5, "requests of pages": 1}
    (problem,) = problems  # two lines that are broken on purpose
    assert problem.startswith(
        "tracking.log, line 3: expected a JSON object in UTF-8 on each line, found "
    )
    assert problem.endswith("; also in line 11")
