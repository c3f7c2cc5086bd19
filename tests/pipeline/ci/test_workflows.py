"""The examples for GitHub and GitLab: by their published schemas, and by the shell that reads their commands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
GITHUB = REPOSITORY / ".github" / "workflows" / "train.yml"
GITLAB = REPOSITORY / ".gitlab-ci.yml"


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def commands() -> Iterator[tuple[str, str]]:
    """Yields the shell commands of both, each with where it stands."""
    for name, job in load(GITHUB)["jobs"].items():
        for index, step in enumerate(job["steps"]):
            if "run" in step:
                yield f"github-{name}-{index}", step["run"]
    for name, job in load(GITLAB).items():
        for key in ("before_script", "script") if isinstance(job, dict) else ():
            if key in job:
                yield f"gitlab-{name}-{key}", "\n".join(job[key])


COMMANDS = dict(commands())


@pytest.mark.parametrize(("path", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")])
def test_it_is_as_its_schema_says(path: Path, schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("place", COMMANDS)
def test_every_command_is_valid_for_bash(place: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=COMMANDS[place], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert len(COMMANDS[place].splitlines()) <= 5, "a few commands, so that a person can type them"


def test_github_jobs_have_a_timeout_and_actions_a_version() -> None:
    workflow = load(GITHUB)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(r"[a-z-]+/[a-z/-]+@v\d+", step["uses"])


def test_only_jobs_after_the_gates_write_packages() -> None:
    for name, job in load(GITHUB)["jobs"].items():
        if job.get("permissions", {}).get("packages") == "write":
            assert name == "image"
            assert job["needs"] == ["check", "train"]


def test_gitlab_jobs_have_a_timeout() -> None:
    workflow = load(GITLAB)
    for job in workflow.values():
        if isinstance(job, dict) and "script" in job:
            assert "timeout" in job or "timeout" in workflow[job["extends"]]
