"""The examples for GitHub and GitLab follow the published schemas, and their commands parse."""

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
    """Yields the shell commands of both, each with its place."""
    for name, job in load(GITHUB)["jobs"].items():
        for index, step in enumerate(job["steps"]):
            if "run" in step:
                yield f"github-{name}-{index}", step["run"]
    for name, job in load(GITLAB).items():
        for key in ("before_script", "script") if isinstance(job, dict) else ():
            if key in job:
                yield f"gitlab-{name}-{key}", "\n".join(job[key])


COMMANDS = dict(commands())


@pytest.mark.parametrize(
    ("path", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")]
)
def test_the_workflow_follows_its_schema(path: Path, schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("place", COMMANDS)
def test_every_command_is_valid_for_bash(place: str) -> None:
    checked = subprocess.run(
        ["bash", "-n"], input=COMMANDS[place], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert len(COMMANDS[place].splitlines()) <= 5, "a few commands, so that a person can type them"


def steps(*, action: str) -> list[dict[str, Any]]:
    """Returns the steps of all of GitHub's jobs that use an action."""
    jobs = load(GITHUB)["jobs"].values()
    return [
        step
        for job in jobs
        for step in job["steps"]
        if step.get("uses", "").startswith(f"{action}@")
    ]


def test_github_jobs_have_a_timeout_and_may_only_read_unless_they_say_so() -> None:
    workflow = load(GITHUB)
    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_actions_are_pinned_to_a_commit_whose_release_is_named() -> None:
    lines = [line for line in GITHUB.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    pinned = re.compile(r" *(- )?uses: [a-z-]+/[a-z/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert len(lines) > 10
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_no_checkout_leaves_its_token_behind() -> None:
    checkouts = steps(action="actions/checkout")
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_only_jobs_after_the_gates_write_packages() -> None:
    jobs = load(GITHUB)["jobs"]
    writers = {
        name for name, job in jobs.items() if job.get("permissions", {}).get("packages") == "write"
    }
    assert writers == {"image", "gpu-image"}
    assert jobs["image"]["needs"] == ["check", "train"]
    assert jobs["gpu-image"]["needs"] == "image"


def test_the_image_that_is_pushed_is_the_one_that_trained() -> None:
    jobs = load(GITHUB)["jobs"]
    kept = [step for step in jobs["train"]["steps"] if step.get("with", {}).get("name") == "image"]
    assert [step["with"]["path"] for step in kept] == ["image.tar.gz"]
    assert not any("build" in step.get("uses", "") for step in jobs["image"]["steps"])
    assert "docker load" in COMMANDS["github-image-2"]
    # The one for GPUs starts from it, by digest: the stage of that name is not built a second time.
    [build] = [
        step for step in jobs["gpu-image"]["steps"] if "build-push-action" in step.get("uses", "")
    ]
    assert (
        build["with"]["build-contexts"] == "mastery=docker-image://${{ needs.image.outputs.image }}"
    )
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    assert "FROM mastery\nCOPY --from=cuda /cuda /\n" in dockerfile


def test_on_gitlab_the_code_of_a_merge_request_has_no_rights() -> None:
    workflow = load(GITLAB)
    jobs = {name: job for name, job in workflow.items() if isinstance(job, dict) and "stage" in job}
    jobs |= {
        name: {**jobs[job["extends"]], **job} for name, job in workflow.items() if "extends" in job
    }
    default_branch = "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"
    everywhere = {name for name, job in jobs.items() if not name.startswith(".")}
    guarded = {
        name
        for name in everywhere
        if jobs[name].get("rules")
        and all(default_branch in rule["if"] for rule in jobs[name]["rules"])
    }
    assert everywhere - guarded == {"check", "try"}
    for name in ("check", "try"):
        text = yaml.safe_dump(jobs[name])
        assert not re.search(r"docker (login|push)|TOKEN|PASSWORD|WEBHOOK|unprotect", text)
    assert jobs["try"]["cache"]["policy"] == "pull"


def test_on_gitlab_what_is_deployed_reads_a_cache_that_no_merge_request_writes() -> None:
    workflow = load(GITLAB)
    own, copy = workflow["train"]["cache"]
    assert "unprotect" not in own
    # Written for merge requests, never read.
    assert (copy["unprotect"], copy["policy"]) == (True, "push")
    assert copy["key"] == workflow["try"]["cache"]["key"] != own["key"]


def test_gitlab_jobs_have_a_timeout() -> None:
    workflow = load(GITLAB)
    for job in workflow.values():
        if isinstance(job, dict) and "script" in job:
            assert "timeout" in job or "timeout" in workflow[job["extends"]]
