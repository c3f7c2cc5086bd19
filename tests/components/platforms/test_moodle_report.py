"""What becomes of the rows of Moodle's log report, in each language of a site."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.components.platforms.moodle_files import problem_of, read_events

REPORT = {
    "English": "Time,User full name,Affected user,Event context,Component,Event name,"
    "Description,Origin,IP address",
    "German": "Zeit,Vollständiger Name,Betroffene/r Nutzer/in,Ereigniskontext,Komponente,"
    "Ereignisname,Beschreibung,Herkunft,IP-Adresse",
    "French": "Heure,Nom complet de l’utilisateur,Utilisateur concerné,"
    "Contexte de l’événement,Composant,Nom de l’événement,Description,Origine,"
    "Adresse IP",
    "Spanish": "Hora,Nombre completo del usuario,Usuario afectado,Contexto del evento,"
    "Componente,Nombre evento,Descripción,Origen,Dirección IP",
    "Chinese": "时间,用户全名,受影响的用户,事件情境,组件,事件名称,描述,起源,IP 地址",
}
TIMES = {
    "English": "22 March 2024, 2:05 PM",
    "German": "22. März 2024, 14:05",
    "French": "22 mars 24, 14:05",
    "Spanish": "22/03/2024 14:05",
    "Chinese": "2024年03月22日 14:05",
}


def _report(
    path: Path, header: str, *rows: tuple[str, str], origin: str = "web", course: str | None = None
) -> Path:
    """Writes a report of rows of times and descriptions."""
    first = [] if course is None else [course]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        file.write(header + "\n")
        for time, description in rows:
            csv.writer(file).writerow(
                [*first, time, "Anna A", "-", "Quiz: Q", "Quiz", "x", description, origin, "::1"]
            )
    return path


SUBMITTED = (
    "The user with id '7' has submitted the attempt with id '3' for the quiz with course "
    "module id '57'."
)
VIEWED = "The user with id '7' viewed the course with id '4'."


@pytest.mark.parametrize("language", [*REPORT])
def test_a_report_is_read_in_its_language(tmp_path: Path, language: str) -> None:
    rows = [(TIMES[language], SUBMITTED), (TIMES[language], VIEWED)]

    events, left_out = read_events(_report(tmp_path / "logs.csv", REPORT[language], *rows))

    keys = {"learner_id": "7", "unit_id": "4", "time": "2024-03-22T14:05:00.000000"}
    assert events == [
        {**keys, "event_type": "quiz", "component": "57"},
        {**keys, "event_type": "course"},
    ]
    assert not left_out


@pytest.mark.parametrize(
    ("description", "event_type", "component"),
    [
        ("viewed the 'page' activity with course module id '5'.", "reading", "5"),
        ("viewed the chapter with id '2' for the book with course module id '5'.", "reading", "5"),
        (
            "has viewed the discussion with id '2' in the forum with course module id '5'.",
            "forum", "5",
        ),
        (
            "has viewed the submission status page for the assignment with course module id '5'.",
            "assignment", "5",
        ),
        ("viewed the section number '3' of the course with id '4'.", "course", None),
        ("viewed the 'newgame' activity with course module id '5'.", "newgame", "5"),
    ],
)  # fmt: skip
def test_types_of_a_report_follow_from_the_description(
    tmp_path: Path, description: str, event_type: str, component: str | None
) -> None:
    rows = [(TIMES["English"], f"The user with id '7' {description}"), (TIMES["English"], VIEWED)]

    events, _ = read_events(_report(tmp_path / "logs.csv", REPORT["English"], *rows))

    assert events[0]["event_type"] == event_type
    assert events[0].get("component") == component


def test_completion_in_a_report_is_that_of_the_learner(tmp_path: Path) -> None:
    text = (
        "The user with id '3' updated the completion state for the course module with id '57' "
        "for the user with id '7'."
    )
    rows = [(TIMES["English"], text), (TIMES["English"], VIEWED)]

    events, _ = read_events(_report(tmp_path / "logs.csv", REPORT["English"], *rows))

    assert events[0]["learner_id"] == "7"
    assert events[0]["event_type"] == "completion"
    assert events[0]["component"] == "57"


@pytest.mark.parametrize(
    ("description", "origin", "reason"),
    [
        ("The user with id '0' viewed the course with id '4'.", "web", "guests and robots"),
        (VIEWED, "cli", "scripts and restored courses"),
        ("The user with id '3' has graded the submission '2' for the user with id '7' for the "
         "assignment with course module id '5'.", "web", "teaching"),
        ("The user with id '7' has logged in.", "web", "without a type of event"),
        ("The user with id '7' viewed the user report in the gradebook.", "web",
         "without a type of event"),
    ],
)  # fmt: skip
def test_what_is_no_learning_in_a_report_is_left_out(
    tmp_path: Path, description: str, origin: str, reason: str
) -> None:
    path = tmp_path / "logs.csv"
    rows = [(TIMES["English"], description), (TIMES["English"], VIEWED)]
    _, left_out = read_events(_report(path, REPORT["English"], *rows, origin=origin))

    assert left_out == {reason: 2 if origin == "cli" else 1}


def test_the_report_of_the_site_names_the_course_in_each_row(tmp_path: Path) -> None:
    header = f"Course,{REPORT['English']}"
    path = _report(tmp_path / "logs.csv", header, (TIMES["English"], SUBMITTED), course="algebra")
    [found], _ = read_events(path)
    assert found["unit_id"] == "algebra"

    _, left_out = read_events(_report(path, header, (TIMES["English"], SUBMITTED), course="-"))
    assert left_out == {"without a unit": 1}


def test_american_dates_are_read_where_one_of_them_shows_it(tmp_path: Path) -> None:
    rows = [("3/25/24, 14:05", SUBMITTED), ("3/02/24, 14:05", VIEWED)]

    events, _ = read_events(_report(tmp_path / "logs.csv", REPORT["English"], *rows))

    assert [event["time"][:10] for event in events] == ["2024-03-25", "2024-03-02"]


def test_dates_of_two_meanings_are_refused_once(tmp_path: Path) -> None:
    rows = [("3/02/24, 14:05", SUBMITTED), ("3/02/24, 14:05", VIEWED)]
    path = _report(tmp_path / "logs.csv", REPORT["English"], *rows)

    problem = problem_of(path)
    assert "column Time: expected dates that show which of their numbers is the month" in problem
    assert "found '3/02/24, 14:05', and every date can be read day first and month first" in problem

    given = {"time": {"from": "Time", "format": "%m/%d/%y, %H:%M"}}
    events, _ = read_events(path, mapping=given)
    assert {event["time"][:10] for event in events} == {"2024-03-02"}


def test_dates_that_fit_no_order_are_refused(tmp_path: Path) -> None:
    rows = [("13/02/24, 14:05", SUBMITTED), ("3/14/24, 14:05", VIEWED)]

    problem = problem_of(_report(tmp_path / "logs.csv", REPORT["English"], *rows))

    assert "found dates such as '13/02/24, 14:05' that together fit no order" in problem


def test_times_of_another_language_are_shown_with_their_lines(tmp_path: Path) -> None:
    rows = [(TIMES["German"], VIEWED), ("22 March 2024, 14:05", VIEWED), ("22 Mar, 14:05", VIEWED)]

    problem = problem_of(_report(tmp_path / "logs.csv", REPORT["German"], *rows))

    assert "line 3, column Zeit: expected a date with its year and a time as written in" in problem
    assert "German" in problem
    assert problem.endswith("found '22 March 2024, 14:05'; also in line 4")


def test_a_report_in_an_unknown_language_is_refused(tmp_path: Path) -> None:
    header = "Idő,Név,Érintett,Környezet,Összetevő,Esemény,Leírás,Eredet,IP-cím"

    problem = problem_of(_report(tmp_path / "logs.csv", header, (TIMES["Spanish"], VIEWED)))

    assert "the log report in English" in problem
    assert "found the columns Idő, Név" in problem
