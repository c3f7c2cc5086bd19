"""Which folders are versions: what TensorFlow Serving's own rule says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.model_version.folders import (
    find_versions,
    index_versions,
    version_names,
    version_number,
)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("0", 0), ("1", 1), ("00000123", 123), ("1700000000", 1700000000), ("+7", 7), ("-7", -7),
        ("1000000000000000000", 10**18), ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None), ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", None), (" 7", 7), ("7\n", 7), ("", None), ("v7", None),
        ("7a", None), ("7.0", None), ("7 8", None), ("0x7", None), ("1e3", None), ("1_000", None),
        ("٣", None), ("７", None), ("²", None), ("7\x00", None), ("7\x1f", None),
        ("7\u00a0", None), ("--7", None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_numbers(name: str, number: int | None) -> None:
    assert version_number(name) == number


@given(st.integers(-(2**64), 2**64), st.integers(0, 30))
def test_whole_numbers_of_64_bits_and_no_others(number: int, zeros: int) -> None:
    sign, digits = ("-", -number) if number < 0 else ("", number)
    found = version_number(f"{sign}{'0' * zeros}{digits}")
    assert found == (number if -(2**63) <= number < 2**63 else None)


def test_of_two_names_the_last_one_is_the_version() -> None:
    assert index_versions(["1", "007", "7", "+7", "gpu"]) == {1: "1", 7: "7"}


def test_folders_that_are_not_versions_are_explained(tmp_path: Path) -> None:
    for name in (
        "3",
        "00000123",
        "9223372036854775807",
        "07",
        "7",
        "v2",
        "٣",
        "5",
        ".push-9",
        "gpu",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "5" / "saved_model.pb").unlink()
    (tmp_path / "6").touch()
    (tmp_path / "models.config").touch()

    found = find_versions(tmp_path)
    assert {number: path.name for number, path in found.paths.items()} == {
        3: "3", 7: "7", 123: "00000123", 2**63 - 1: "9223372036854775807"
    }  # fmt: skip
    assert found.passed_over == {
        "v2": "its name is not a whole number of at most 64 bits",
        "٣": "its name is not a whole number of at most 64 bits",
        "07": "7 is the same version",
        "5": "there is no saved_model.pb in it",
        "6": "there is no saved_model.pb in it",
    }
    assert list(find_versions(tmp_path / "nowhere").paths) == []


def test_a_push_comes_after_all_of_them(tmp_path: Path) -> None:
    for name in ("00000123", "٣", "7"):
        (tmp_path / name).mkdir()
    assert version_names(tmp_path) == {7: "7", 123: "00000123"}
    assert version_names(tmp_path / "nowhere") == {}
