"""Files of a format with several tables: which one a file is, and the order of its rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from components.config.mapping import EventMapping, RecordKind
from components.contracts.names import LEARNER, ORDER, TIME, UNIT
from components.event_log.chunks import number_of
from components.event_log.column_kinds import Kind, Table
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.event_log.tables import read_table

KEYS = {"learner_id": "who", "unit_id": "course", "time": "at"}
MAPPING = EventMapping.model_validate(
    {
        "columns": KEYS,
        "kinds": {
            "views": {"has": ["who", "at"], "columns": {"event_type": {"constant": "view"}}},
            "grades": {
                "has": ["who", "at", "points"],
                "columns": {"event_type": {"constant": "grade"}, "score": "points"},
                "leave_out": {"open": {"points": "^$|^-$"}},
            },
            "export": {
                "languages": {
                    "English": {"columns": ["Course", "When", "Who", "What"], "dates": ["ymd"]},
                    "German": {"columns": ["Kurs", "Zeit", "Wer", "Was"], "dates": ["ymd"]},
                },
                "optional_first": True,
                "time": "When",
                "newest_first": True,
                "one_per_file": ["unit_id"],
                "columns": {
                    "learner_id": "Who",
                    "unit_id": ["Course", {"from": "What", "pattern": "^viewed (.+)$"}],
                    "time": "When",
                    "event_type": {"from": "What", "pattern": "^([a-z]+)"},
                },
            },
        },
    }
)
TABLE = Table(
    "events", {LEARNER: Kind.KEY, UNIT: Kind.KEY, TIME: Kind.CLOCK}, mapping=MAPPING
)  # fmt: skip


def _write(folder: Path, text: str) -> LogFile:
    path = folder / "log.csv"
    path.write_text(text, encoding="utf-8")
    return LogFile(str(path), "csv", 2)


def _rows(file: LogFile, *columns: str) -> list[tuple[str, ...]]:
    chunks = [*read_chunks(file, columns, MAPPING)]
    frames = [chunk.frame for chunk in chunks if not isinstance(chunk, Problem)]
    assert len(frames) == len(chunks), chunks
    return pl.concat(frames).rows()


def _problem(file: LogFile) -> str:
    [problem] = [item for item in read_chunks(file, [*KEYS], MAPPING) if isinstance(item, Problem)]
    return str(problem)


def test_the_kind_with_the_most_columns_counts(tmp_path: Path) -> None:
    file = _write(tmp_path, "course,who,at\nc,a,1\n")
    assert _rows(file, "event_type", "learner_id") == [("view", "a")]

    file = _write(tmp_path, "course,who,at,points\nc,a,1,0.5\nc,b,1,-\n")
    assert _rows(file, "event_type", "score") == [("grade", "0.5")]


def test_a_column_of_the_format_is_laid_under_those_of_its_kinds() -> None:
    over = MAPPING.laid_over({"learner_id": None, "event_type": None}, {"open": None}, {}, {})

    assert "learner_id" not in over.columns
    assert [*over.kinds["grades"].columns] == ["score"]
    assert "learner_id" not in over.kinds["export"].columns
    assert not over.kinds["grades"].leave_out
    assert MAPPING.laid_over({}, {}, {}, {"export": None}).kinds.keys() == {"views", "grades"}


def test_columns_of_all_kinds_are_named() -> None:
    assert MAPPING.column_names == ["learner_id", "unit_id", "time", "event_type", "score"]


@pytest.mark.parametrize("header", ["Zeit,Wer,Was", "zeit ,WER:,Something else"])
def test_a_header_of_a_language_is_recognised_by_most_of_its_names(
    tmp_path: Path, header: str
) -> None:
    file = _write(tmp_path, f"{header}\n2024-03-02 10:00,a,viewed c\n")

    assert _rows(file, "learner_id", "unit_id", "event_type") == [("a", "c", "viewed")]


@pytest.mark.parametrize("header", ["Zeit,Anders,Neu", "Wer,Zeit,Was", "Zeit,Wer,Was,Wo,Wie"])
def test_other_headers_are_not(tmp_path: Path, header: str) -> None:
    file = _write(tmp_path, f"{header}\n{',' * header.count(',')}\n")

    assert "expected one of the tables" in _problem(file)


def test_the_one_unit_of_a_file_is_that_of_all_its_records(tmp_path: Path) -> None:
    rows = "2024-03-02 10:00,a,wrote\n2024-03-02 10:00,a,viewed c\n"
    assert _rows(_write(tmp_path, f"When,Who,What\n{rows}"), "unit_id") == [("c",), ("c",)]

    two = f"{rows}2024-03-02 10:00,a,viewed d\n"
    assert _rows(_write(tmp_path, f"When,Who,What\n{two}"), "unit_id") == [("c",), ("d",)]


def test_events_of_the_same_time_are_in_the_order_in_which_they_happened(tmp_path: Path) -> None:
    text = "Course,When,Who,What\n" + "".join(
        f"c,2024-03-02 10:0{minute},{name},viewed\n" for minute, name in ("2z", "1y", "1x", "0w")
    )
    [frame] = [frame for frame, _ in read_table(_write(tmp_path, text), TABLE) if frame is not None]

    assert frame.sort(TIME, ORDER)[LEARNER].to_list() == ["w", "x", "y", "z"]
    assert [number_of(order) for order in frame[ORDER]] == [2, 3, 4, 5]
    assert (frame[ORDER] // (1 << 40) == 2).all()


def test_an_empty_file_has_no_kind(tmp_path: Path) -> None:
    assert _rows(_write(tmp_path, "course,who,at\n"), "learner_id") == []
    assert [*read_chunks(_write(tmp_path, ""), [*KEYS], MAPPING)] == []


def test_what_is_wrong_with_a_file_is_said_once(tmp_path: Path) -> None:
    file = _write(tmp_path, 'course,who,at\nc,"a,1\n')

    assert "RFC 4180" in _problem(file)


@pytest.mark.parametrize(
    "given", [{}, {"has": ["a"], "languages": {"English": {"columns": ["a"]}}}]
)
def test_a_kind_is_recognised_in_one_way(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected one of has and languages"):
        RecordKind.model_validate(given)


def test_languages_have_the_same_columns_and_one_of_times() -> None:
    english = {"columns": ["Time", "Who"]}
    languages = {"English": english, "German": {"columns": ["Zeit"]}}
    with pytest.raises(ValueError, match="expected 2 columns as in the first language, found 1"):
        RecordKind.model_validate({"languages": languages})
    with pytest.raises(ValueError, match="expected a column of the first language, found 'When'"):
        RecordKind.model_validate({"languages": {"English": english}, "time": "When"})


def test_local_times_have_the_zone_of_the_log_and_typed_ones_stay(tmp_path: Path) -> None:
    text = "Course,When,Who,What\nc,2024-03-02 10:00,a,viewed\n"
    table = replace(TABLE, timezone="Europe/Berlin")
    [frame] = [frame for frame, _ in read_table(_write(tmp_path, text), table) if frame is not None]
    expected = [datetime(2024, 3, 2, 9, tzinfo=UTC)]
    assert frame[TIME].to_list() == expected

    typed = pl.DataFrame({"Course": "c", "When": expected, "Who": "a", "What": "viewed"})
    typed.write_parquet(tmp_path / "log.parquet")
    file = LogFile(str(tmp_path / "log.parquet"), "parquet", 0)
    frames = [frame for frame, _ in read_table(file, table) if frame is not None]
    assert pl.concat(frames)[TIME].to_list() == expected
