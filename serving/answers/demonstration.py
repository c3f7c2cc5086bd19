"""A demonstration: one term of simulated learners, scored day by day as it goes on.

The learners are drawn with another seed than those of the sample log, so no model of that log has
seen them, and what pages say about its quality is true. Names of people and groups are invented.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from components.contracts.names import AS_OF, LEARNER, TIME, UNIT
from components.files.atomic import write_text
from components.simulator.simulate import simulate
from serving.answers.after_scoring import follow_up
from serving.answers.delivery.deliver import receivers
from serving.answers.delivery.sender import send_due
from serving.answers.outcomes import store_outcomes
from serving.answers.people import import_people
from serving.answers.scoring.run import ScoringOptions, score
from serving.answers.tables import ModelVersion, Scoring

if TYPE_CHECKING:
    from serving.answers.scoring.versions import PushedVersion
    from serving.answers.settings import AnswersSettings

NOW = datetime(2025, 6, 27, 6, 0, tzinfo=UTC)  # a Friday, while most units are under way
WEEKS = 4
_TERM = timedelta(weeks=6)  # learners who began within it take part
_SIMULATED, _SEED = 4000, 2  # learners of half a year; the sample log has seed 1
_GROUPS = 12

_FIRST = (
    "Amara", "Ben", "Chiara", "Dario", "Elif", "Femi", "Grace", "Hana", "Ivan", "Jia", "Kofi",
    "Lea", "Mateo", "Nadia", "Omar", "Priya", "Quinn", "Rosa", "Sofia", "Tomás", "Uma", "Viktor",
    "Wei", "Yara", "Zoe",
)  # fmt: skip
_LAST = (
    "Adeyemi", "Bauer", "Castillo", "Dubois", "Eriksen", "Fischer", "Gupta", "Haddad", "Ito",
    "Jansen", "Kaya", "Lindqvist", "Moreau", "Nkosi", "Okafor", "Petrov", "Rossi", "Silva", "Tran",
    "Weber", "Yilmaz", "Zhang", "Almeida", "Cohen", "Duarte", "Fofana", "Hughes",
)  # fmt: skip
_UNITS = {
    "fire-safety": ("Fire safety", "Compliance", ""),
    "data-protection": ("Data protection", "Compliance", ""),
    "python-basics": ("Python basics", "Data skills", ""),
    "sql-basics": ("SQL basics", "Data skills", "python-basics"),
    "negotiation": ("Negotiation", "Leadership", ""),
}
_REGIONS = {
    "europe": "Europe", "africa": "Africa", "americas": "Americas", "asia_pacific": "Asia Pacific",
}  # fmt: skip


@dataclass(frozen=True)
class Term:
    """The files of a demonstration, below one folder.

    Attributes:
        events: of the learners of the term, up to its present.
        outcomes: theirs, also those that are still to come.
        people: the tables of who is who, by kind.
    """

    events: Path
    outcomes: Path
    people: dict[str, Path]


def make_term(folder: Path) -> Term:
    """Writes the log that a term has at `NOW`, and who is who in it; returns the files.

    Args:
        folder: where the files go; it exists.
    """
    whole = folder / "whole"
    simulate(_SIMULATED, _SEED, whole, format="parquet", overwrite=True)
    log = pl.read_parquet(whole / "events.parquet")
    begun = log.group_by(LEARNER).agg(pl.col(TIME).min())
    learners = begun.filter(pl.col(TIME).is_between(NOW - _TERM, NOW, closed="left"))[LEARNER]
    part = log.filter(pl.col(LEARNER).is_in(learners.implode()), pl.col(TIME) < NOW)
    outcomes = pl.read_parquet(whole / "outcomes.parquet")
    asked = outcomes.filter(pl.col(LEARNER).is_in(learners.implode()))

    people = _people(asked)
    term = Term(
        folder / "events.parquet",
        folder / "outcomes.parquet",
        {name: folder / f"{name}.csv" for name in people},
    )
    part.write_parquet(term.events)
    asked.write_parquet(term.outcomes)
    for name, table in people.items():
        write_text(term.people[name], table.write_csv())
    return term


def _people(outcomes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Returns who is who: three groups of learners in each region, and three users."""
    regions = outcomes.select(LEARNER, "region").unique(LEARNER, keep="first").sort(LEARNER)
    place = pl.col("number") % (_GROUPS // len(_REGIONS)) + 1
    learners = regions.with_row_index("number").with_columns(
        group_id=pl.col("region") + "-" + place.cast(pl.String)
    )
    names = [
        f"{_FIRST[number % len(_FIRST)]} {_LAST[number * 7 % len(_LAST)]}"
        for number in range(learners.height)
    ]
    groups = learners.select("group_id", "region").unique().sort("group_id")
    titles = [
        f"{_REGIONS[region]} {group.rpartition('-')[2]}" for group, region in groups.iter_rows()
    ]
    shown = groups["region"].replace_strict(_REGIONS)
    mine = [name for name in groups["group_id"] if name in ("europe-1", "europe-2")]
    managed = groups.filter(pl.col("region").is_in(["europe", "africa"]))["group_id"]
    return {
        "groups": groups.select("group_id", name=pl.Series(titles), region=shown),
        "learners": learners.select(LEARNER, "group_id", name=pl.Series(names)),
        "units": pl.DataFrame(
            [(unit, *texts) for unit, texts in _UNITS.items()],
            schema=[UNIT, "title", "course", "prerequisites"],
            orient="row",
        ),
        "users": pl.DataFrame(
            {
                "user": ["ada", "max", "root"],
                "name": ["Ada (teacher)", "Max (manager)", "Robin (administrator)"],
                "role": ["teacher", "manager", "admin"],
                "capacity": [20, None, None],
            }
        ),
        "memberships": pl.DataFrame(
            [*(("ada", group) for group in mine), *(("max", group) for group in managed)],
            schema=["user", "group_id"],
            orient="row",
        ),
    }


def is_complete(engine: Engine, version: PushedVersion) -> bool:
    """Returns whether the last day has been scored with a version."""
    finished = (
        select(Scoring.id)
        .join(ModelVersion, ModelVersion.id == Scoring.version_id)
        .where(Scoring.as_of == NOW, Scoring.finished_at.is_not(None))
        .where(ModelVersion.model == version.name, ModelVersion.version == version.number)
    )
    with Session(engine) as session:
        return session.scalars(finished).first() is not None


def live_through(
    engine: Engine, url: str, term: Term, version: PushedVersion, settings: AnswersSettings
) -> Iterator[str]:
    """Scores the last weeks day by day, with alerts and outcomes as they came; yields each day.

    Args:
        engine: the answers' database.
        url: its address.
        term: what `make_term` wrote.
        version: that answers.
        settings: rules and channels of the alerts.
    """
    import_people(engine, term.people)
    outcomes = pl.read_parquet(term.outcomes)
    everybody = receivers(settings)
    since = NOW - timedelta(weeks=WEEKS)
    for number in range(1, WEEKS * 7 + 1):
        day = since + timedelta(days=number)
        options = ScoringOptions([str(term.events)], [day], learners=[str(term.outcomes)])
        scored = score(url, version, options)
        told = follow_up(engine, settings, version, [day], day)
        send_due(engine, everybody, settings.delivery, clock=lambda day=day: day)  # type: ignore[misc]

        came_in = outcomes.filter(pl.col(AS_OF).is_between(since, day, closed="none"))
        if came_in.height:
            label = version.config.label
            rows = came_in.select(LEARNER, UNIT, AS_OF, label.column)
            store_outcomes(engine, rows, label, now=day)
        alerts = sum(len(rule.decision.told) for rule in told)
        yield f"{day:%a %d %b}   {scored.answers:>5,} answers   {alerts:>3} alerts"
