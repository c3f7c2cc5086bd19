"""Records of a platform become events; what is left out is counted, and faults say where from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.config.data import Data
from components.errors import LogError
from components.event_log.log import check_log
from tests.components.event_log.conftest import Config  # the type, as the fixtures name it


@pytest.fixture
def configured(configure: Any, tmp_path: Path) -> Any:
    """Returns a function that configures a log of sixty records and forty outcomes."""

    def build(**data: Any) -> Config:
        lines = ["who,course,at,kind,points,best,role"]
        lines += [f"l{n % 20},u,{n // 20},quiz,{n},60,pupil" for n in range(60)]
        (tmp_path / "log.csv").write_text("\n".join(lines))
        lines = ["learner_id,unit_id,as_of,mastery,age"]
        lines += [f"l{n % 20},u,{2 + n // 20},{['low', 'high'][n % 2]},9" for n in range(40)]
        (tmp_path / "out.csv").write_text("\n".join(lines))
        mapping = {
            "learner_id": "who",
            "unit_id": "course",
            "time": "at",
            "event_type": "kind",
            "dwell": {"from": "points", "over": "best"},
        }
        given = {
            "events": str(tmp_path / "log.csv"),
            "outcomes": str(tmp_path / "out.csv"),
            "mapping": mapping,
            "splits": {"train": 2},
            **data,
        }
        given["mapping"] = Data.model_validate(given).mapping
        return configure(data=given)  # type: ignore[no-any-return]

    return build


def problems_of(config: Config, tmp_path: Path) -> list[str]:
    with pytest.raises(LogError) as caught:
        check_log(config)
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def change(tmp_path: Path, line: int, text: str) -> None:
    lines = (tmp_path / "log.csv").read_text().splitlines()
    lines[line - 1] = text
    (tmp_path / "log.csv").write_text("\n".join(lines))


def test_a_wrong_value_is_named_with_its_source(configured: Any, tmp_path: Path) -> None:
    config = configured()
    change(tmp_path, 7, "l5,u,0,quiz,n/a,60,pupil")
    change(tmp_path, 9, "l7,u,soon,quiz,1,60,pupil")
    assert problems_of(config, tmp_path) == [
        "log.csv, line 7, column dwell: expected a number, or nothing for a missing one, found "
        "'n/a / 60' (points is 'n/a', best is '60')",
        "log.csv, line 9, column time: expected a number, or a timestamp such as "
        "2024-05-01T12:00:00+02:00 with a year of four digits (without offset: UTC time), found "
        "'soon' (at is 'soon')",
    ]


def test_a_missing_time_says_where_it_was_looked_for(configured: Any, tmp_path: Path) -> None:
    config = configured()
    change(tmp_path, 7, "l5,u,,quiz,1,60,pupil")
    [problem] = problems_of(config, tmp_path)
    assert problem.endswith("expected a time in every row, found nothing (nothing at at)")


def test_a_mapping_that_leaves_out_everything_says_so(configured: Any, tmp_path: Path) -> None:
    config = configured(leave_out={"pupils": [{"role": ["pupil"], "points": "^[1-5]"}]})
    change(tmp_path, 2, "l0,u,0,,0,60,pupil")
    for line in range(3, 62):
        if (tmp_path / "log.csv").read_text().splitlines()[line - 1].split(",")[4][
            0
        ] not in "12345":
            change(tmp_path, line, ",u,0,quiz,7,60,pupil")
    [problem] = problems_of(config, tmp_path)
    assert problem == (
        "data.events: expected at least one row, found none; of 60 records all are left out: "
        "55 pupils, 4 without a learner, 1 without a type of event (data.leave_out, data.mapping)"
    )


def test_a_file_of_another_kind_says_which_columns_it_lacks(
    configured: Any, tmp_path: Path
) -> None:
    config = configured()
    text = (tmp_path / "log.csv").read_text()
    (tmp_path / "log.csv").write_text(text.replace("who,", "name,", 1))
    [problem] = problems_of(config, tmp_path)
    assert problem == (
        "log.csv: expected 'who' in events, found the columns name, course, at, kind, points, "
        "best, role; is data.format right? data.mapping says where values are found"
    )
