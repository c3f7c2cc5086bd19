from __future__ import annotations

from pathlib import Path

import pytest

from components.event_log.files import find_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.parquet", "sub/c.jsonl.gz", "_SUCCESS", "_tmp.csv", ".hidden.csv", "notes.txt"):
        path = tmp_path / "log" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "log"


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["."], ["a.parquet parquet", "b.csv csv", "sub/c.jsonl.gz jsonl"]),
        (["b.csv", "."], ["b.csv csv", "a.parquet parquet", "sub/c.jsonl.gz jsonl"]),
        (["*.csv"], ["b.csv csv"]),
        (["**/*.gz", "a.parquet", "a.parquet"], ["sub/c.jsonl.gz jsonl", "a.parquet parquet"]),
        (["_tmp.csv"], ["_tmp.csv csv"]),
    ],
)
def test_finds_files_in_order_and_once(patterns: list[str], found: list[str], folder: Path) -> None:
    found_files = find_files("events", [str(folder / pattern) for pattern in patterns])
    files, problems = found_files.files, found_files.problems
    assert [f"{Path(file.path).relative_to(folder)} {file.format}" for file in files] == found
    assert [file.index for file in files] == list(range(len(files)))
    assert problems == []


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("notes.txt", "notes.txt: expected Parquet (.parquet, .pq), CSV (.csv) or JSON lines"),
        ("n*", "found notes.txt"),
        (
            "x.csv",
            "x.csv: expected a file or folder of events, found no such file; the folder has .hidden.csv, _SUCCESS",
        ),
        ("no/x.csv", "found nothing: the folder no does not exist"),
    ],
)
def test_says_what_is_there_instead(pattern: str, problem: str, folder: Path) -> None:
    files, problems = find_files("events", [str(folder / pattern)])
    assert files == []
    assert problem in str(problems[0]).replace(f"{folder}/", "")


def test_buckets_are_mounted() -> None:
    _, (problem,) = find_files("outcomes", ["s3://bucket/outcomes.parquet"])
    assert str(problem).startswith("data.outcomes: expected a path; mount the bucket as a folder")
