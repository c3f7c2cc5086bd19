"""A learning record store for tests: Ralph, in an environment of its own, which its lock pins."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.environments import make_environment
from tests.ports import free_port, wait_for_port

LOCK = Path(__file__).parent / "ralph.lock"
USER, PASSWORD = "mastery", "s3cret"

# Its store in a file refuses a second request by default, and has no setting for it.
_PROGRAM = """
import sys
import uvicorn
from ralph.backends.data.base import BaseOperationType
from ralph.backends.lrs.fs import FSLRSBackend
FSLRSBackend.default_operation_type = BaseOperationType.APPEND
uvicorn.run("ralph.api:app", host="127.0.0.1", port=int(sys.argv[1]))
"""


# Prints which lines are no statements. `ralph validate` passes verbs over that it does not know.
_STATEMENTS = """
import sys
from pydantic import ValidationError
from ralph.models.xapi.base.statements import BaseXapiStatement
for number, line in enumerate(sys.stdin, start=1):
    try:
        BaseXapiStatement.model_validate_json(line)
    except ValidationError as error:
        print(number, file=sys.stdout)
        print(number, error, file=sys.stderr)
"""


@dataclass(frozen=True)
class Ralph:
    """A running store, with one user."""

    url: str
    programs: Path

    def statements(self, agent: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Reads statements back, all of them or an agent's, in the order in which they came."""
        query = {"ascending": "true", **({"agent": json.dumps(agent)} if agent else {})}
        answer = httpx.get(
            f"{self.url}/statements",
            params=query,
            auth=(USER, PASSWORD),
            headers={"X-Experience-API-Version": "1.0.3"},
            timeout=30,
        )
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["statements"]
        return found


def find_programs(cache: Path) -> Path:
    """Returns the folder with `ralph`; skips, with the reason, where it cannot be installed.

    Args:
        cache: a folder for the environment; another lock makes another environment.
    """
    return make_environment(cache, LOCK, "Ralph")


@contextmanager
def serve(programs: Path, folder: Path) -> Iterator[Ralph]:
    """Runs a store on an empty folder until the block ends."""
    environment = {
        "PATH": os.environ["PATH"],
        "RALPH_APP_DIR": str(folder),
        "RALPH_AUTH_FILE": str(folder / "auth.json"),
        "RALPH_RUNSERVER_BACKEND": "fs",
        "RALPH_BACKENDS__LRS__FS__DEFAULT_DIRECTORY_PATH": str(folder / "statements"),
    }
    subprocess.run(
        [programs / "ralph", "auth", "--write-to-disk", "--username", USER, "--password", PASSWORD,
         "--scope", "all", "--agent-ifi-mbox", "mailto:mastery@example.org"],
        env=environment, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip

    port = free_port()
    log = folder / "server.log"
    command = [programs / "python", "-c", _PROGRAM, str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=output
        )
    try:
        wait_for_port(port, server, log)
        yield Ralph(f"http://127.0.0.1:{port}/xAPI", programs)
    finally:
        server.terminate()
        server.wait()


def validate(programs: Path, statements: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Runs `ralph validate` on statements, one per line."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [programs / "ralph", "validate", "--format", "xapi"],
            env={"PATH": os.environ["PATH"], "RALPH_APP_DIR": folder},
            input="".join(f"{json.dumps(statement)}\n" for statement in statements),
            check=False, capture_output=True, text=True, cwd=folder,
        )  # fmt: skip


def find_refused(programs: Path, statements: list[dict[str, Any]]) -> list[int]:
    """Returns the numbers, from 1, of those that break the rules for statements of any kind."""
    done = subprocess.run(
        [programs / "python", "-c", _STATEMENTS],
        input="".join(f"{json.dumps(statement)}\n" for statement in statements),
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [int(number) for number in done.stdout.split()]


def convert(programs: Path, events: list[dict[str, Any]], platform: str) -> list[dict[str, Any]]:
    """Returns events of Open edX as the statements that `ralph convert` makes of them."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [programs / "ralph", "convert", "--from", "edx", "--to", "xapi", "--fail-on-unknown",
             "--uuid-namespace", "ee241f8b-174f-5bdb-bae9-c09de5fe017f",
             "--platform-url", platform],
            env={"PATH": os.environ["PATH"], "RALPH_APP_DIR": folder},
            input="".join(f"{json.dumps(event)}\n" for event in events),
            check=True, capture_output=True, text=True, cwd=folder,
        )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]
