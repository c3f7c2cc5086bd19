"""Which files of a folder or pattern are read: every real one once; the others are counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.event_log.sources import Listing, LogFile, Reason, expand_pattern, find_files


def touch(folder: Path, *names: str, content: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def listed(folder: Path, *patterns: str) -> tuple[list[str], dict[Reason, list[str]]]:
    """Returns the files behind patterns without problems, and the paths that are passed over."""
    listing = find_files("events", [str(folder / pattern) for pattern in patterns])
    assert listing.problems == []
    assert [file.index for file in listing.files] == list(range(len(listing.files)))
    passed = {
        reason: [path.replace(f"{folder}/", "") for path in paths]
        for reason, paths in _passed(listing)
    }
    return [str(Path(file.path).relative_to(folder)) for file in listing.files], passed


def _passed(listing: Listing) -> list[tuple[Reason, list[str]]]:
    return sorted(listing.passed_over.items())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    touch(
        tmp_path / "log",
        "b.csv",
        "a.parquet",
        "sub/c.jsonl.gz",
        "_SUCCESS",
        "_tmp.csv",
        ".hidden.csv",
        "notes.txt",
    )
    touch(
        tmp_path / "log", "_temporary/0/d.csv", ".ipynb_checkpoints/b-checkpoint.csv", "sub/_e.csv"
    )
    return tmp_path / "log"


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["."], ["a.parquet", "b.csv", "sub/c.jsonl.gz"]),
        (["b.csv", "."], ["b.csv", "a.parquet", "sub/c.jsonl.gz"]),
        (["*.csv"], ["b.csv"]),
        (["**/*.csv"], ["b.csv"]),
        (["**/[_b]*.csv"], ["b.csv"]),
        (["**/*.gz", "a.parquet", "a.parquet"], ["sub/c.jsonl.gz", "a.parquet"]),
        (["*"], ["a.parquet", "b.csv", "sub/c.jsonl.gz"]),
        (["**"], ["a.parquet", "b.csv", "sub/c.jsonl.gz"]),
        # Spelled out, such names are meant.
        (["_tmp.csv"], ["_tmp.csv"]),
        (["_t*.csv"], ["_tmp.csv"]),
        (["_temporary"], ["_temporary/0/d.csv"]),
        ([".ipynb_checkpoints/*.csv"], [".ipynb_checkpoints/b-checkpoint.csv"]),
    ],
)
def test_finds_files_in_order_and_once(patterns: list[str], found: list[str], folder: Path) -> None:
    assert listed(folder, *patterns)[0] == found


def test_counts_what_it_passes_over(folder: Path) -> None:
    touch(folder, "empty.csv", "empty.jsonl", content="")
    os.link(folder / "b.csv", folder / "c.csv")
    _, passed = listed(folder, ".", "*.csv")
    assert passed == {
        Reason.AGAIN: ["c.csv"],
        Reason.EMPTY: ["empty.csv", "empty.jsonl"],
        Reason.FORMAT: ["notes.txt"],
        Reason.HIDDEN: [
            ".hidden.csv",
            "_SUCCESS",
            "_tmp.csv",
            ".ipynb_checkpoints/",
            "_temporary/",
            "sub/_e.csv",
        ],
    }
    shown = find_files("events", [str(folder)]).describe_passed_over()
    assert shown.startswith(f"6 hidden or starting with _ ({folder.parent.name}/log/.hidden.csv, ")
    assert shown.endswith("1 of another format (" + f"{folder.parent.name}/log/notes.txt), 2 empty "
                                                   "(0 bytes) (" + (
        f"{folder.parent.name}/log/empty.csv, {folder.parent.name}/log/empty.jsonl)"
    ))  # fmt: skip


def test_what_is_above_the_configured_path_may_have_any_name(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/_exports [1]*/events/a.csv", ".cache/_exports [1]*/events/_b.csv")
    base = tmp_path / ".cache" / "_exports [1]*"
    assert listed(base, "events") == (["events/a.csv"], {Reason.HIDDEN: ["events/_b.csv"]})
    assert [file.path for file in find_files("events", [f"{base}/events/a.csv"]).files] == [
        f"{base}/events/a.csv"
    ]
    escaped = str(base).replace("[", "[[]").replace("*", "[*]")
    assert expand_pattern(f"{escaped}/ev*/*.csv") == [f"{base}/events/a.csv"]
    assert [file.path for file in find_files("events", [f"{escaped}/*/*.csv"]).files] == [
        f"{base}/events/a.csv"
    ]


@pytest.mark.parametrize("pattern", ["log", "log/**/*.csv", "l*", "log/*"])
def test_links_are_followed_and_loops_end(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, "log/day/a.csv", "elsewhere/later/b.csv", "single/c.csv")
    links = {
        "log/day/up": "..", "log/day/again": "..", "log/self": ".", "log/latest": "day",
        "log/linked": "../elsewhere", "log/c.csv": "../single/c.csv", "log/gone": "nowhere",
    }  # fmt: skip
    for link, target in links.items():
        (tmp_path / link).symlink_to(target)
    assert set(listed(tmp_path, pattern)[0]) == {
        "log/c.csv",
        "log/day/a.csv",
        "log/linked/later/b.csv",
    }


def test_the_name_that_needs_no_link_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "exports/2024-03-10/events.csv")
    (tmp_path / "exports/0-latest").symlink_to("2024-03-10")
    expected = ["exports/2024-03-10/events.csv"], {Reason.AGAIN: ["exports/0-latest/events.csv"]}
    assert listed(tmp_path, "exports/*/events.csv") == expected
    (tmp_path / "a.csv").symlink_to("exports/2024-03-10/events.csv")
    assert listed(tmp_path, "*.csv", "exports")[0] == [
        "a.csv"
    ]  # what the first pattern has found, stays


def test_a_pattern_reads_folders_that_it_matches(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "exports/2024-03.csv",
        "exports/2024-04.csv/part-0.csv",
        "exports/2024-04.csv/_SUCCESS",
    )
    assert listed(tmp_path, "exports/*.csv")[0] == [
        "exports/2024-03.csv",
        "exports/2024-04.csv/part-0.csv",
    ]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("notes.txt", "notes.txt: expected Parquet (.parquet, .pq), CSV (.csv) or JSON lines"),
        ("n*", "found notes.txt"),
        (
            "x.csv",
            "x.csv: expected a file or folder of events, found none; the folder holds .hidden.csv, "
            ".ipynb_checkpoints, _SUCCESS",
        ),
        ("no/x.csv", "found nothing: the folder no does not exist"),
        (
            "sub/*.csv",
            "sub/*.csv: expected a file or folder of events, found only files hidden or starting "
            "with _: _e.csv",
        ),
        ("sub/*.parquet", "found none; the folder holds _e.csv, c.jsonl.gz"),
    ],
)
def test_says_what_is_there_instead(pattern: str, problem: str, folder: Path) -> None:
    listing = find_files("events", [str(folder / pattern)])
    assert listing.files == []
    assert problem in str(listing.problems[0]).replace(f"{folder}/", "")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "lost.csv").symlink_to("/nowhere/lost.csv")
    (tmp_path / "itself.csv").symlink_to("itself.csv")
    (tmp_path / os.fsdecode(b"caf\xe9.csv")).write_text("x")
    os.mkfifo(tmp_path / "pipe.csv")
    listing = find_files("events", [str(tmp_path)])
    assert listing.files == []
    assert [str(problem).replace(f"{tmp_path}/", "") for problem in listing.problems] == [
        "caf\\udce9.csv: expected a file name in UTF-8 (rename the file, or the folder it is in), "
        f"found b'{tmp_path}/caf\\xe9.csv'".replace(f"{tmp_path}/", ""),
        "itself.csv: could not be read (broken link)",
        "lost.csv: could not be read (broken link)",
    ]
    assert listing.passed_over == {Reason.SPECIAL: [str(tmp_path / "pipe.csv")]}


def test_a_file_named_like_a_pattern_hides_no_other(tmp_path: Path) -> None:
    touch(tmp_path, "*.csv", "a.csv", "[b].csv", "b.csv")
    assert listed(tmp_path, "*.csv")[0] == ["*.csv", "[b].csv", "a.csv", "b.csv"]
    assert listed(tmp_path, "[b].csv")[0] == ["[b].csv"]


def test_a_log_of_empty_files_is_one_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "b.jsonl", content="")
    (problem,) = find_files("events", [str(tmp_path)]).problems
    assert str(problem).startswith(
        "data.events: expected at least one file with rows, found only 2 empty (0 bytes) ("
    )
    touch(tmp_path, "c.csv")
    assert listed(tmp_path, ".")[0] == ["c.csv"]


def test_buckets_are_mounted() -> None:
    (problem,) = find_files("outcomes", ["s3://bucket/outcomes.parquet"]).problems
    assert str(problem).startswith("data.outcomes: expected a path; mount the bucket as a folder")


def test_columns_in_the_path() -> None:
    file = LogFile("log/unit_id=a%2Fb=c/day=__HIVE_DEFAULT_PARTITION__/x=y.csv", "csv", 0)
    assert file.partition == {"unit_id": "a/b=c", "day": None}


def test_a_folder_that_cannot_be_read_is_a_problem(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    problems = find_files("events", [str(folder)]).problems
    assert f"{folder}: could not be read (Permission denied)" in map(str, problems)


def test_a_folder_without_files_is_a_problem(tmp_path: Path) -> None:
    [problem] = find_files("events", [str(tmp_path / "x.csv")]).problems
    assert str(problem).endswith(
        "expected a file or folder of events, found none; the folder is empty"
    )
    [problem] = find_files("events", [str(tmp_path)]).problems
    assert str(problem).endswith("found nothing")


def test_a_folder_of_hidden_files_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".fetch.lock").touch()
    [problem] = find_files("events", [str(tmp_path)]).problems
    assert str(problem).endswith(
        "expected a file or folder of events, found only files hidden or starting with _: "
        ".fetch.lock"
    )
