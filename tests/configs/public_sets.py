"""Small files with the columns that public sets of learners' logs are published with."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

ASSISTMENTS = (
    "order_id", "assignment_id", "user_id", "assistment_id", "problem_id", "original", "correct",
    "attempt_count", "ms_first_response", "tutor_mode", "answer_type", "sequence_id",
    "student_class_id", "position", "type", "base_sequence_id", "skill_id", "skill_name",
    "teacher_id", "school_id", "hint_count", "hint_total", "overlap_time", "template_id",
    "answer_id", "answer_text", "first_action", "bottom_hint", "opportunity",
    "opportunity_original",
)  # fmt: skip
STUDENTS = (
    "code_module", "code_presentation", "id_student", "gender", "region", "highest_education",
    "imd_band", "age_band", "num_of_prev_attempts", "studied_credits", "disability",
    "final_result",
)  # fmt: skip
LEARNERS = 120


def _write(
    path: Path,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    quoted: bool = False,
    encoding: str = "utf-8",
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
        writer.writerow(header)
        writer.writerows(rows)


def write_oulad(data: Path) -> None:
    """Writes one presentation of OULAD into a folder."""
    draw = random.Random(1)
    folder = data / "oulad"
    course = ["AAA", "2013J"]
    kinds = ["resource", "forumng", "oucontent", "url", "quiz"]
    sites = [[500 + site, *course, kind, "?", "?"] for site, kind in enumerate(kinds)]
    header = ["id_site", "code_module", "code_presentation", "activity_type", "week_from"]
    _write(folder / "vle.csv", [*header, "week_to"], sites, quoted=True)
    header = ["code_module", "code_presentation", "id_assessment", "assessment_type", "date"]
    given = [[*course, 1752, "TMA", 19, 10], [*course, 1753, "CMA", 54, 20]]
    exam = [*course, 1757, "Exam", "?", 100]
    _write(folder / "assessments.csv", [*header, "weight"], [*given, exam], quoted=True)

    students, clicks, marks = [], [], []
    for number in range(LEARNERS):
        student = 11391 + number
        result = ["Pass", "Fail", "Withdrawn", "Distinction"][number % 4]
        about = ["MF"[number % 2], "Scotland", "HE Qualification", ["?", "20-30%"][number % 2]]
        about += [["0-35", "55<="][number % 2], 0, 60, "NY"[number % 5 == 0], result]
        students.append([*course, student, *about])
        days = sorted(draw.sample(range(-10, 160), 12))
        clicks += [
            [*course, student, draw.choice(sites)[0], day, draw.randrange(1, 9)] for day in days
        ]
        marks.append([1752, student, 18, int(number == 5), draw.randrange(100)])
        marks.append([1753, student, 55, 0, "?" if number == 7 else draw.randrange(100)])
    _write(folder / "studentInfo.csv", STUDENTS, students, quoted=True)
    header = ["code_module", "code_presentation", "id_student", "id_site", "date", "sum_click"]
    _write(folder / "studentVle.csv", header, clicks, quoted=True)
    header = ["id_assessment", "id_student", "date_submitted", "is_banked", "score"]
    _write(folder / "studentAssessment.csv", header, marks, quoted=True)


def write_ednet(data: Path) -> None:
    """Writes learners of EdNet's set KT1, a file each, and its questions."""
    draw = random.Random(1)
    header = ["question_id", "bundle_id", "explanation_id", "correct_answer", "part", "tags"]
    questions = [
        [f"q{n}", f"b{n}", f"e{n}", "abcd"[n % 4], 1 + n % 2, f"{n};{n + 1}", 1558093217098]
        for n in range(1, 21)
    ]
    _write(data / "ednet/contents/questions.csv", [*header, "deployed_at"], questions)
    for learner in range(1, LEARNERS + 1):
        time = 1565096190868 + learner * 10**6
        rows = []
        for place in range(60):
            number = draw.randrange(1, 21)
            is_right = draw.random() < 0.3 + 0.6 * (learner % 2)
            answer = "abcd"[(number + (not is_right)) % 4]
            rows.append([time, place + 1, f"q{number}", answer, draw.randrange(5000, 60000)])
            time += draw.randrange(10**6, 10**8)
        header = ["timestamp", "solving_id", "question_id", "user_answer", "elapsed_time"]
        _write(data / f"ednet/KT1/u{learner}.csv", header, rows)


def write_assistments(data: Path) -> None:
    """Writes the skill builder problems of ASSISTments, 2009-2010."""
    draw = random.Random(1)
    rows = []
    for learner in range(LEARNERS):
        for skill in ("1", "2"):
            for place in range(1, 27):
                row = dict.fromkeys(ASSISTMENTS, "")
                row |= {"order_id": str(20224085 + len(rows)), "user_id": str(64525 + learner)}
                row |= {"problem_id": str(51424 + place), "original": "1", "attempt_count": "1"}
                row |= {"correct": str(int(draw.random() < 0.3 + 0.5 * (learner % 2)))}
                row |= {"ms_first_response": str(draw.randrange(1000, 90000)), "hint_count": "0"}
                row |= {"skill_id": skill if place < 26 else "", "answer_text": "x² = 4"}
                rows.append([*(row | {"opportunity": str(place)}).values()])
    path = data / "assistments/skill_builder_data.csv"
    _write(path, ASSISTMENTS, rows, encoding="latin-1")


WRITERS = {"oulad": write_oulad, "ednet": write_ednet, "assistments": write_assistments}
