"""YAML as people mean it, within bounds, and every problem with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.config.strict_yaml import MOST_BYTES, YamlError, read_text, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{now}: &{now} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, now in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[no, off, yes, on, true, False]", ["no", "off", "yes", "on", True, False]),
        (
            "[7, -7, 0, 007, 0x1F, 0o7, 1_000, 1:30]",
            [7, -7, 0, "007", "0x1F", "0o7", "1_000", "1:30"],
        ),
        ("[1.5, .5, 1., 1.5e3, -1e-3]", [1.5, 0.5, 1.0, 1500.0, "-1e-3"]),
        ("[.inf, -.INF]", [float("inf"), float("-inf")]),
        ("[2024-01-31, 2024-01-31 12:00:00]", ["2024-01-31", "2024-01-31 12:00:00"]),
        ("[~, null, NULL, '', =, <]", [None, None, None, "", "=", "<"]),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("<<: {a: 1, b: 2}\nb: 3", {"a": 1, "b": 3}),
        ("\ufeffa: 1", {"a": 1}),
        ('a: "😀 \\u2028"', {"a": "😀 \u2028"}),
        ("", None),
    ],
)
def test_values_are_what_they_look_like(text: str, value: object) -> None:
    assert read_yaml(text)[1] == value


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, "expected every key once, found a again, after line 1"),
        ("x:\n  - {a: 1, a: 1}", 2, "found a again"),
        ("&a a: 1\n*a : 2", 1, "found a again"),
        ("a:\n\t- b", 2, "expected YAML, found a problem at column 1"),
        ("a: [", 1, "expected YAML"),
        ("a: 1\nb: !!python/object:os.system x", 2, "found the tag !!python/object:os.system"),
        ("a: !!timestamp 2024-99-99", 1, "found the tag !!timestamp"),
        ("a: !mine {}", 1, "found the tag !mine"),
        ("a: !!int x", None, "does not fit the tag"),
        ("a: &a\n  b: *a", 1, "an alias refers to a value that contains it"),
        ("[" * 3000, None, "expected at most 50 levels"),
        (CHAIN, 51, "expected at most 50 levels"),
        (BOMB, 5, "expected at most 100,000 values"),
        ("a: " + "9" * 5000, 1, "expected a number of at most 30 digits, found 5000"),
        ("[a]: 1", 1, "expected a name as key"),
        ("a: 1\nb: \x01", 2, "found the character U+0001"),
        ("a: 1\nb: 'x\u2028y'", 2, 'inside double quotes write it as "\\u2028"'),
        ("--- 1\n--- 2", 2, "expected a single document"),
    ],
)
def test_a_problem_has_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert says in str(caught.value)
    assert caught.value.line == line


def test_an_alias_s_value_is_its_own() -> None:
    _, values = read_yaml("a: &x [1]\nb: *x")
    values["a"][0] = 2
    assert values["b"] == [1]


def test_a_file_that_is_not_utf8_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"name: a\nlabel: gr\xfcn\n")
    (tmp_path / "large").write_bytes(b"#" * (MOST_BYTES + 1))
    os.mkfifo(tmp_path / "pipe")
    for name, says, line in [
        ("latin", "expected UTF-8 text, found the byte 0xfc", 2),
        ("large", "expected a file of at most 1,048,576 bytes", None),
        ("pipe", "expected a configuration file, found something else", None),
        (".", "expected a configuration file, found a folder", None),
        ("absent", "name a configuration file", None),
        ("latin/x", "name a configuration file", None),
        ("x" * 300, "name a configuration file", None),
        ("a\0b", "name a configuration file", None),
    ]:
        with pytest.raises(YamlError, match=says) as caught:
            read_text(tmp_path / name)
        assert caught.value.line == line
    with pytest.raises(YamlError, match="found something else"):
        read_text(Path("/dev/zero"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a: 1")
    (tmp_path / "secret").chmod(0)
    with pytest.raises(YamlError, match="Permission denied"):
        read_text(tmp_path / "secret")
