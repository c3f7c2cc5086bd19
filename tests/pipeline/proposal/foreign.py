"""Exports of other systems, made up: a German school, and two in the form of public sets.

Learners differ in how able they are; that decides their answers, how long they stay, and their
grades, so that there is something to learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Visit(NamedTuple):
    """One event of a learner."""

    learner: int
    unit: int
    kind: int
    time: datetime
    seconds: float
    correct: bool
    ability: float


def visits(learners: int, units: int, seed: int) -> Iterator[Visit]:
    """Yields the events of learners, learner by learner and unit by unit."""
    generator = np.random.default_rng(seed)
    start = datetime(2024, 9, 2, 8, tzinfo=UTC)
    for learner in range(learners):
        ability = float(generator.normal())
        for unit in generator.choice(units, size=2, replace=False):
            time = start + timedelta(days=float(generator.uniform(0, 20)))
            for _ in range(int(generator.poisson(22 + 6 * np.tanh(ability))) + 3):
                time += timedelta(hours=float(generator.exponential(30)))
                right = bool(generator.uniform() < 1 / (1 + np.exp(-1.5 * ability)))
                seconds = float(generator.lognormal(4 - 0.4 * ability, 0.8))
                kind = int(generator.integers(4))
                yield Visit(learner, int(unit), kind, time, seconds, right, ability)


def abilities(learners: int, units: int, seed: int) -> dict[tuple[int, int], float]:
    """Returns how able a learner is, by learner and unit."""
    return {(item.learner, item.unit): item.ability for item in visits(learners, units, seed)}


def write_german(folder: Path, learners: int = 250, seed: int = 1) -> None:
    """Writes a school's export, as German spreadsheets save it, and the grades beside it."""
    kinds, courses = ("Video", "Übung", "Prüfung", "Forum"), ("Bruchrechnen", "Größen", "Zinsen")
    lines = ["Schüler-ID;Kurs;Zeitpunkt;Aktivität;Dauer in s;Richtig;E-Mail"]
    for item in visits(learners, 3, seed):
        answer = ("ja" if item.correct else "nein") if item.kind in (1, 2) else ""
        seconds = f"{item.seconds:.1f}".replace(".", ",")
        lines.append(
            f"S{item.learner:04};{courses[item.unit]};{item.time:%d.%m.%Y %H:%M:%S};"
            f"{kinds[item.kind]};{seconds};{answer};s{item.learner}@schule.example"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "aktivitaeten.csv").write_text("\r\n".join(lines) + "\r\n", encoding="cp1252")

    grades = ["Schüler-ID;Kurs;Note;Geschlecht"]
    for (learner, unit), ability in abilities(learners, 3, seed).items():
        grade = np.clip(3.5 - 1.2 * ability, 1, 6)
        written = f"{grade:.1f}".replace(".", ",")
        gender = ("m", "w")[learner % 2]
        grades.append(f"S{learner:04};{courses[unit]};{written};{gender}")
    (folder / "noten.csv").write_text("\r\n".join(grades) + "\r\n", encoding="cp1252")


def write_clicks(folder: Path, learners: int = 400, seed: int = 2) -> None:
    """Writes daily clicks of courses and what became of the students, as OULAD has them."""
    courses = (("AAA", "2013J"), ("BBB", "2013J"), ("BBB", "2014B"))
    start = datetime(2024, 9, 2, tzinfo=UTC)
    lines = ["code_module,code_presentation,id_student,id_site,date,sum_click"]
    for item in visits(learners, 3, seed):
        module, term = courses[item.unit]
        day = (item.time - start).days - 8
        site = 546_000 + 10 * item.unit + item.kind
        clicks = 1 + int(item.seconds // 40)
        lines.append(f'"{module}","{term}",{11_000 + item.learner},{site},{day},{clicks}')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "studentVle.csv").write_text("\n".join(lines) + "\n")

    results = ["code_module,code_presentation,id_student,gender,region,age_band,final_result"]
    for (learner, unit), ability in abilities(learners, 3, seed).items():
        module, term = courses[unit]
        cuts = (-0.9, -0.2, 1.0)
        result = ("Withdrawn", "Fail", "Pass", "Distinction")[sum(ability > cut for cut in cuts)]
        person = f'"{"MF"[learner % 2]}","{("Wales", "Ireland")[learner % 3 > 0]}","0-35"'
        results.append(f'"{module}","{term}",{11_000 + learner},{person},"{result}"')
    (folder / "studentInfo.csv").write_text("\n".join(results) + "\n")


def write_answers(folder: Path, learners: int = 300, seed: int = 3) -> None:
    """Writes a tutor's answers, as ASSISTments has them: no outcomes, affect detectors beside."""
    lines = [
        "problem_log_id,user_id,skill_name,problem_id,problem_type,start_time,correct,"
        "attempt_count,ms_first_response,hint_count,Average_confidence(FRUSTRATED)"
    ]
    skills = ("Addition", "Pattern Finding", "Percent Of", "Equations")
    types = ("algebra", "choose_1", "fill_in", "open")
    for row, item in enumerate(sorted(visits(learners, 4, seed), key=lambda item: item.time)):
        skill = skills[item.unit]
        problem = 70_000 + 40 * item.unit + (row * 7) % 40
        tries = 1 if item.correct else 2 + row % 3
        lines.append(
            f"{9_000_000 + row},{80_000 + item.learner},{skill},{problem},{types[item.kind]},"
            f"{item.time:%Y-%m-%d %H:%M:%S},{int(item.correct)},{tries},"
            f"{int(1000 * item.seconds)},{0 if item.correct else row % 4},{(row % 10) / 10}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "problem_logs.csv").write_text("\n".join(lines) + "\n")
