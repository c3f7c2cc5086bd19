"""Fuzzes the configuration: gives the command line odd and broken ones for some seconds.

.venv/bin/python -m benchmarks.fuzz_config [--seconds 60] [--seed 1] [--commands 20]

It changes values of every key, whole sections, and the bytes of the file, and makes up settings of
`--set`. A configuration must either load, and then reach the worker unchanged, or raise a
`ConfigError`. Some go through the real command, which must exit with 2 and show no traceback. The
script stops at the first that does not.
"""

from __future__ import annotations

import argparse
import collections
import copy
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import yaml

from components.config import Config, load_config
from components.config.section import sections_in
from components.contracts.run_plan import RunPlan
from components.errors import ConfigError

SAMPLE = Path(__file__).parents[1] / "configs" / "sample.yaml"
SLOW = 5.0  # seconds that reading a configuration may take
ODD: list[Any] = [
    None, True, False, 0, -1, 2**31, -(2**63), 10**29, 0.5, -0.0, 1e308, 5e-324,
    float("inf"), float("-inf"), float("nan"),
    "", " ", "a", "null", "no", "010", "1:30", "1e400", ".inf", "2024-13-45", "é😀", "\u2028\x85",
    "\x7f", "a\nb", "x" * 5000, "\ud800", "\0", "~nobody/x", "../../..", "/", "{SPAN}",
    "{YYYY}{SPAN}", "{{$.x}}", "$(x)", "[", "s3://", "https://u:p@h",
    [], [[]], [None], [True], ["a", "a"], [{}], [[[[[[]]]]]],
    {}, {"": 1}, {"a": {"b": {}}}, {1: 2}, {None: None},
]  # fmt: skip
TEXTS = [
    "a: &a [*a]", "&a a: 1\n*a : 2", "<<: 5", "<<: {name: x}", "!!python/object:os.system x",
    "!!binary x", "!!int x",
    "!!float x", "!!bool x", "!!null x", "%YAML 9.9\n---", "--- 1\n--- 2", "\t", "a: b: c",
    "? [a]", "[", "{", "]", "'",
    '"\\ud800"', '"\\x00"', "| \n a", ">-\n", "*x", "&x", "@", "`", "0x1F", "0b1", "9" * 5000,
    "- " * 3000, "[" * 3000,
    "{a: " * 3000, "#", "=", "...", "\ufeff", "\x01", "\u0085", "!<tag:yaml.org,2002:set> {a}",
    "!x y", "? a\n? a",
]  # fmt: skip


class Fuzzer:
    """Draws configurations, and checks that they load or are refused."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._draw = random.Random(seed)
        self._file = folder / "fuzzed.yaml"
        self._text = SAMPLE.read_text(encoding="utf-8")
        self._values = yaml.safe_load(self._text)
        self._keys = [*_keys(Config, ())]
        self.seen: collections.Counter[str] = collections.Counter()

    def draw(self) -> list[str]:
        """Writes a file and returns settings for it."""
        change = self._draw.choice([self._changed_values, self._changed_text, self._changed_bytes])
        self._file.write_bytes(change())
        return [self._setting() for _ in range(self._draw.choice([0, 0, 1, 3]))]

    def load(self, settings: list[str]) -> None:
        """Reads the file in this process."""
        started = time.monotonic()
        try:
            config = load_config(self._file, settings)
        except ConfigError as error:
            self.seen["refused" if str(error) else "refused without a word"] += 1
        else:
            sent = RunPlan(run="r", root=Path("/r"), config=config).model_dump_json(by_alias=True)
            names = [name for name in Config.model_fields if name != "metadata"]
            kept = {name: getattr(config, name) for name in names}
            arrived = RunPlan.model_validate_json(sent).config
            assert kept == {name: getattr(arrived, name) for name in kept}, "changed on the way"
            self.seen["taken"] += 1
        assert time.monotonic() - started < SLOW, "too slow"

    def run(self, settings: list[str]) -> None:
        """Gives the file to the real command."""
        given = [part for setting in settings for part in ("--set", setting) if "\0" not in setting]
        # Also bytes that are not UTF-8.
        arguments = [part.encode("utf-8", "surrogatepass") for part in given]
        command = [sys.executable, "-m", "pipeline.cli.main", "notify", "--test"]
        ended = subprocess.run(
            [*command, "--config", str(self._file), *arguments],
            capture_output=True,
            check=False,
            cwd=SAMPLE.parents[1],
        )
        printed = (ended.stdout + ended.stderr).decode(errors="replace")
        assert ended.returncode == 2, f"exit code {ended.returncode}: {printed}"
        assert "Traceback" not in printed, printed
        assert "unexpected" not in printed, printed
        self.seen["by the command"] += 1

    def describe(self, settings: list[str]) -> str:
        """Returns what was drawn."""
        return f"{self._file.read_bytes()!r}\nsettings {settings!r}"

    def _changed_values(self) -> bytes:
        values = copy.deepcopy(self._values)
        for _ in range(self._draw.choice([1, 1, 2, 4])):
            section: Any = values
            *parents, key = self._draw.choice(self._keys)
            for parent in parents:
                section = section.setdefault(parent, {}) if isinstance(section, dict) else {}
            if isinstance(section, dict):
                section[self._draw.choice([key, key, key, key + "s", ""])] = self._draw.choice(ODD)
        text = yaml.dump(values, allow_unicode=self._draw.random() < 0.5)
        return text.encode("utf-8", "surrogatepass")

    def _changed_text(self) -> bytes:
        lines = self._text.splitlines(keepends=True)
        for _ in range(self._draw.choice([1, 1, 2])):
            at = self._draw.randrange(len(lines))
            change = self._draw.choice(["value", "line", "twice", "indent"])
            odd = self._draw.choice(TEXTS)
            if change == "value":
                lines[at] = f"{lines[at].partition(':')[0]}: {odd}\n"
            elif change == "line":
                lines.insert(at, f"{odd}\n")
            elif change == "twice":
                lines.insert(at, lines[self._draw.randrange(len(lines))])
            else:
                lines[at] = self._draw.choice([" ", "\t", "- "]) + lines[at]
        return "".join(lines).encode("utf-8", "surrogatepass")

    def _changed_bytes(self) -> bytes:
        data = bytearray(self._text.encode())
        for _ in range(self._draw.choice([1, 3, 30])):
            data[self._draw.randrange(len(data))] = self._draw.randrange(256)
        return bytes(data[: self._draw.choice([len(data), self._draw.randrange(len(data))])])

    def _setting(self) -> str:
        key = ".".join(self._draw.choice(self._keys))
        value = yaml.dump(self._draw.choice(ODD)).strip()
        odd = self._draw.choice([value, self._draw.choice(TEXTS)])
        keys = [key, f"{key}s", f"{key}.0", f"{key}.x.y"]
        return self._draw.choice([*[f"{name}={odd}" for name in keys], key, "=", odd, f".{key}=1"])


def _keys(section: Any, above: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Returns every key of a section; items of lists and mappings get a made-up one."""
    found: list[tuple[str, ...]] = []
    for name, field in section.model_fields.items():
        path = (*above, field.alias or name)
        found.append(path)
        for inner in sections_in(field.annotation):
            below = path
            if inner is not field.annotation:
                below = (*path, "0" if "list" in str(field.annotation) else "correct")
            found += _keys(inner, below)
    return found


def main() -> None:
    """Fuzzes until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--commands", type=int, default=20, help="how many go through the real command"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mastery-fuzz-") as folder:
        fuzzer = Fuzzer(Path(folder), options.seed)
        end = time.monotonic() + options.seconds
        drawn = 0
        while time.monotonic() < end or fuzzer.seen["by the command"] < options.commands:
            settings = fuzzer.draw()
            try:
                fuzzer.load(settings)
                if drawn % 50 == 0 and fuzzer.seen["by the command"] < options.commands:
                    fuzzer.run(settings)
            except Exception:
                traceback.print_exc()
                sys.exit(f"number {drawn} of seed {options.seed}:\n{fuzzer.describe(settings)}")
            drawn += 1
    os.write(1, f"{drawn:,} configurations: {dict(fuzzer.seen)}\n".encode())


if __name__ == "__main__":
    main()
