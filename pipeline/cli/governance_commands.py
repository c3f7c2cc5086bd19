"""`mastery models approve`, `policy` and `replay`, and the check of `mastery models log`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    JsonOption,
    ModelsOption,
    OptionalConfigOption,
    RootOption,
    SetOption,
    VersionArgument,
    open_folder,
    parse_version_number,
)

if TYPE_CHECKING:
    from components.contracts.serving_state import ApprovalPolicy
    from serving.models.approvals import Approver
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
WithoutApprovalOption = Annotated[
    bool,
    typer.Option("--without-approval", help="Also when approvals are missing; needs --reason."),
]
WhyOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")]


def approve(
    version: VersionArgument,
    reason: WhyOption,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="FILE", help="Sign with this private key, of one in approvals.keys."
        ),
    ] = None,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take an approval back.")] = False,
) -> None:
    """Say that a version may be served, or take that back.

    Without --key, the log has the user's name on this machine, which is no proof.

    Exit code 1: the approval would not count, and nothing was recorded.

    Example:
        mastery models approve 1795328170 --reason "report read" --models serving --key ann.pem
    """
    from serving.models import approvals
    from serving.models.listing import check_version

    storage = open_folder(models, config, set_, root)
    checked = check_version(storage, version)
    approver = _approver(storage, version, key)
    entry = approvals.approve(storage, checked, approver, reason, revoke=revoke)
    if entry is None:
        print(f"Nothing was changed: {approver.name} has approved this version.")
        return

    status = approvals.status_after(storage, checked)
    print(
        f"{'revoked' if revoke else 'approved'} by {approver.name} (revision {entry.revision}); "
        f"{len(status.counting)} of {status.needed} approvals"
    )


def policy(
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Set it to the section approvals of --config and --set."),
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the log; with --adopt.")
    ] = "",
    json_: JsonOption = False,
) -> None:
    """Print which approvals versions need, or set that.

    Example:
        mastery models policy --adopt --reason "two from now on" --config configs/sample.yaml
    """
    import json

    from components.errors import MasteryError
    from serving.models import approval_policy
    from serving.models.changes import read_entries

    storage = open_folder(models, config, set_, root)
    if adopt:
        asked = asked_policy(config, set_)
        if asked is None:
            raise MasteryError("--adopt: expected --config FILE with a section approvals.")
        approval_policy.set_policy(storage, asked, reason)

    found = approval_policy.policy_in(read_entries(storage))
    if json_:
        print(json.dumps(found and found.model_dump(mode="json"), indent=1))
    elif found is None:
        print(
            "No policy yet: each version needs what the configuration says that it was made with."
        )
    else:
        print(f"needed  {found.needed}")
        print(f"roles   {', '.join(found.roles or approval_policy.DEFAULT_ROLES)}")
        print(f"accept  {', '.join(found.accept)}")
        for name, public_key in found.keys.items():
            print(f"key     {name}: {public_key}")


def replay(
    config: ConfigOption,
    learner: Annotated[
        str, typer.Option("--learner", metavar="ID", help="The learner's id in the log.")
    ],
    as_of: Annotated[
        str, typer.Option("--as-of", metavar="MOMENT", help="A time as the log writes it.")
    ],
    unit: Annotated[
        str | None,
        typer.Option("--unit", metavar="ID", help="One unit; default: all with events before."),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            "--version",
            metavar="VERSION",
            parser=parse_version_number,
            help="Default: the one that was stable then, by the audit log.",
        ),
    ] = None,
    learners: Annotated[
        list[str] | None,
        typer.Option(
            "--learners",
            metavar="FILE",
            help="The table that `mastery score` was given; default: the outcomes.",
        ),
    ] = None,
    db: Annotated[
        str | None,
        typer.Option("--db", metavar="URL", help="Compare with this answers' database."),
    ] = None,
    prediction_log: Annotated[
        str | None,
        typer.Option(
            "--prediction-log",
            metavar="DIR_OR_URL",
            help="Compare with the server's log of answers.",
        ),
    ] = None,
    models: ModelsOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    json_: JsonOption = False,
) -> None:
    """Answer again what a version was asked about a learner.

    Compares the answer with what was kept of it then, and says whether it was right.

    Exit code 1: it differs from what was kept; events that arrived late are named.

    Example:
        mastery models replay --as-of 2026-11-03 --learner l-17 --config configs/sample.yaml
    """
    import json
    from contextlib import closing

    from components.command.program import quiet_imports
    from components.config import load_config

    loaded = load_config(config, set_)
    storage = open_folder(models, config, set_, root)
    with quiet_imports():
        from serving.answers.database import open_database
        from serving.prediction_log.log_store import open_store
        from serving.replay.replay import Asked, Kept
        from serving.replay.replay import replay as replay_

    asked = Asked(learner, as_of, unit, version, tuple(learners or ()))
    with ExitStack() as stack:
        log = stack.enter_context(closing(open_store(prediction_log))) if prediction_log else None
        database = open_database(db, upgrade=False) if db else None
        replayed = replay_(storage, loaded, asked, Kept(log, database))

    if json_:
        print(json.dumps([item.model_dump(mode="json") for item in replayed], indent=1))
    else:
        print("\n\n".join(item.describe() for item in replayed))
    if any(item.differs for item in replayed):
        raise typer.Exit(1)


def asked_policy(config: Path | None, set_: list[str]) -> ApprovalPolicy | None:
    """Returns the approvals that a configuration asks for; None without one.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    if config is None:
        return None
    from components.config import load_config
    from serving.models.approval_policy import as_policy

    return as_policy(load_config(config, set_).approvals)


def _approver(storage: Storage, version: int, key: Path | None) -> Approver:
    """Returns who approves: the owner of a key, or the user on this machine."""
    from components.contracts.serving_state import whoami
    from serving.models.approval_policy import policy_for
    from serving.models.approvals import Approver
    from serving.models.changes import read_entries
    from serving.models.listing import read_version

    if key is None:
        return Approver(whoami(), "account")

    from serving.models.approval_signatures import name_of, read_private_key

    private = read_private_key(key)
    manifest = read_version(storage, version, servable=True).manifest
    listed = policy_for(manifest, read_entries(storage)).keys
    return Approver(name_of(private, listed, key), "signature", key=private)


def print_check(storage: Storage, expect: str | None, witness: Path | None, *, json_: bool) -> None:
    """Prints what a check of the audit log found; exits with 1 where it was changed."""
    import json
    from dataclasses import asdict

    from serving.models.audit_check import check_log

    checked = check_log(storage, expect=expect, witness=witness)
    print(json.dumps(asdict(checked), indent=1) if json_ else checked.describe())
    if checked.problems:
        raise typer.Exit(1)
