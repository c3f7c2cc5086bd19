"""`mastery models approve`, `policy` and `replay`, and the check of `mastery models log`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serving.models.storage import Storage

CheckOption = Annotated[
    bool, typer.Option("--check", help="Check that no entry was changed, removed or added.")
]
ExpectOption = Annotated[
    str | None,
    typer.Option(
        "--expect",
        metavar="HEAD",
        help="Also that it still has this head of an earlier check.",
    ),
]
WitnessOption = Annotated[
    Path | None,
    typer.Option(
        "--witness", metavar="FILE", help="The same with the head in FILE, which is then renewed."
    ),
]


def print_check(storage: Storage, expect: str | None, witness: Path | None, *, json_: bool) -> None:
    """Prints what a check of the audit log found; exits with 1 where it was changed."""
    import json
    from dataclasses import asdict

    from serving.models.audit_check import check_log

    checked = check_log(storage, expect=expect, witness=witness)
    print(json.dumps(asdict(checked), indent=1) if json_ else checked.describe())
    if checked.problems:
        raise typer.Exit(1)
