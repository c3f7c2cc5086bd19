"""Who is who from files: everything or nothing, and groups right wherever they are repeated."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from components.errors import MasteryError
from serving.answers.people import import_people
from serving.answers.tables import (
    ComponentResult,
    CurrentAnswer,
    DailyCount,
    Group,
    Learner,
    Membership,
    Unit,
    User,
)
from tests.serving.answers.classroom import fill

FILES = {
    "groups": "group_id,name,region\na,Class A,north\nb,Class B,\n",
    "learners": "learner_id,name,group_id\nann,Ann Müller,a\nbob,,\n",
    "units": 'unit_id,title,course,prerequisites\nu1,"One, first",maths,\nu2,Two,maths,u1\n'
    "u3,Three,,u1 | u2\n",
    "users": "user,name,role,capacity\nada,Ada,teacher,20\nmax,Max,manager,\n",
    "memberships": "user,group_id\nada,a\nmax,a\nmax,b\n",
}


def write(folder: Path, **texts: str) -> dict[str, Path]:
    """Writes files; returns their paths by name."""
    paths = {name: folder / f"{name}.csv" for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name], encoding="utf-8")
    return paths


def test_files_become_rows(database: Engine, tmp_path: Path) -> None:
    imported = import_people(database, write(tmp_path, **FILES))
    assert {name: done.changed for name, done in imported.items()} == {
        "groups": 2, "learners": 2, "units": 3, "users": 2, "memberships": 3,
    }  # fmt: skip
    with Session(database) as session:
        assert session.get_one(Group, "b").region is None
        ann, bob = session.scalars(select(Learner).order_by(Learner.learner_id))
        assert (ann.name, ann.group_id, ann.need) == ("Ann Müller", "a", 0.0)
        assert (bob.name, bob.group_id) == (None, None)
        assert session.get_one(Unit, "u3").prerequisites == ["u1", "u2"]
        assert session.get_one(Unit, "u1").prerequisites == []
        assert (session.get_one(User, "ada").capacity, session.get_one(User, "max").capacity) == (
            20,
            None,
        )


def test_a_second_time_changes_nothing(database: Engine, tmp_path: Path) -> None:
    paths = write(tmp_path, **FILES)
    import_people(database, paths)
    assert {done.changed for done in import_people(database, paths).values()} == {0}


def test_parquet_with_whole_numbers_as_ids(database: Engine, tmp_path: Path) -> None:
    path = tmp_path / "learners.parquet"
    pl.DataFrame({"learner_id": [7, 8], "name": ["Seven", None]}).write_parquet(path)
    import_people(database, {"learners": path})
    with Session(database) as session:
        assert session.get_one(Learner, "7").name == "Seven"


def test_columns_that_a_file_lacks_stay(database: Engine, tmp_path: Path) -> None:
    import_people(database, write(tmp_path, **FILES))
    paths = write(
        tmp_path,
        learners="learner_id,name,phone\nann,Anna,1\n",
        units="unit_id,title\nu3,3\nu4,4\n",
    )
    assert import_people(database, paths)["learners"].ignored == ("phone",)
    with Session(database) as session:
        ann = session.get_one(Learner, "ann")
        assert (ann.name, ann.group_id) == ("Anna", "a")
        assert session.get_one(Unit, "u3").prerequisites == ["u1", "u2"]
        assert session.get_one(Unit, "u4").prerequisites == []


def test_memberships_are_those_of_the_file(database: Engine, tmp_path: Path) -> None:
    import_people(database, write(tmp_path, **FILES))
    done = import_people(database, write(tmp_path, memberships="user,group_id\nmax,b\n"))
    assert done["memberships"].removed == 1
    with Session(database) as session:
        rows = session.execute(select(Membership.user, Membership.group_id).order_by("user"))
        assert [tuple(row) for row in rows] == [("ada", "a"), ("max", "b")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "groups",
            "group_id,name\na,A\nb,\n",
            "line 3, column name: expected",
        ),
        ("groups", "group_id,name\na,A\na,B\n", "line 3, column group_id: expected"),
        ("groups", "group_id\na\n", "expected a column 'name' in groups"),
        (
            "learners",
            "learner_id,group_id\nann,zz\n",
            "line 2, column group_id: expected",
        ),
        (
            "users",
            "user,name,role\nx,X,boss\n",
            "line 2, column role: expected",
        ),
        ("users", "user,name,role,capacity\nx,X,admin,2.5\n", "capacity: expected a whole number"),
        ("users", "user,name,role,capacity\nx,X,admin,many\n", "capacity: expected a number"),
        ("units", "unit_id,title,prerequisites\nu1,1,u9\n", "prerequisites: expected units"),
        ("units", "unit_id,title,prerequisites\na,1,b\nb,2,a\n", "do not come before themselves"),
        ("memberships", "user,group_id\nnobody,a\n", "user: expected one of the users"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_written(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    from serving.answers.database import open_database

    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    paths = write(tmp_path, **{**FILES, name: text})
    with pytest.raises(MasteryError) as raised:
        import_people(engine, paths)
    assert message in str(raised.value)
    assert f"{name}.csv" in str(raised.value)
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Group)) == 0
    engine.dispose()


def test_a_learner_who_moves_is_in_the_new_group_everywhere(
    database: Engine, tmp_path: Path
) -> None:
    fill(database, learners=6, units=2, groups=2)
    path = tmp_path / "learners.csv"
    path.write_text("learner_id,group_id\nlearner-0000,group-1\nlearner-0001,group-1\n")
    before = _sums(database)
    import_people(database, {"learners": path})

    with Session(database) as session:
        for table in (CurrentAnswer, ComponentResult):
            groups = select(table.group_id).where(table.learner_id == "learner-0000").distinct()
            assert session.scalars(groups).all() == ["group-1"]
    after = _sums(database)
    answers = 28 * 2
    assert after["group-0"][0] == before["group-0"][0] - answers
    assert after["group-1"][0] == before["group-1"][0] + answers
    for place in (0, 1):
        total = sum(values[place] for values in before.values())
        assert sum(values[place] for values in after.values()) == pytest.approx(total)


def _sums(engine: Engine) -> dict[str, tuple[int, float]]:
    sums = select(DailyCount.group_id, func.sum(DailyCount.answers), func.sum(DailyCount.need))
    with Session(engine) as session:
        rows = session.execute(sums.group_by(DailyCount.group_id))
        return {group: (int(answers), float(need)) for group, answers, need in rows}
