"""`mastery models kserve` and `rollout`: what follows a canary, and what decides on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.governance_commands import asked_policy
from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    JsonOption,
    ModelsOption,
    OptionalConfigOption,
    RootOption,
    SetOption,
    open_folder,
)
from pipeline.cli.prediction_log_commands import LogOption
from pipeline.cli.signing_commands import PublicKeyOption, find_trust
from pipeline.cli.tracking_commands import tell_labels

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")
]


def kserve(
    manifest: Annotated[
        Path, typer.Argument(metavar="FILE", help="The manifest of the InferenceService.")
    ],
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    dry_run: DryRunOption = False,
) -> None:
    """Make KServe's manifest say what is served: the version and its share.

    Exit code 1: the model is out of service, and nothing was changed.

    Example:
        mastery models kserve inference-service.yaml --config configs/sample.yaml
    """
    from serving.models.kserve import write_kserve

    storage = open_folder(models, config, set_, root)
    print(write_kserve(storage, manifest, dry_run=dry_run))


def rollout(
    config: ConfigOption,
    models: ModelsOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    log: LogOption = None,
    questions: Annotated[
        list[str] | None,
        typer.Option(
            "--questions",
            help="What was asked, besides the log's outcomes, as `mastery predict --outcomes` "
            "takes it; repeatable.",
        ),
    ] = None,
    as_of: Annotated[
        list[str] | None,
        typer.Option(
            "--as-of", metavar="TIME", help="All learners were asked about then; repeatable."
        ),
    ] = None,
    public_key: PublicKeyOption = None,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Take one step of a rollout: compare the new version with the stable one.

    Reads what both answered from the prediction log, and what became of it from the
    configuration's log. With rollout.automatic, a new version moves from shadow to canary to
    stable, or is taken back, within gates and approvals; otherwise the step is printed. For a
    timer.

    Exit code 1: the new version loses, or the change was refused.

    Example:
        mastery models rollout --config configs/sample.yaml --log predictions
    """
    from datetime import UTC, datetime

    from components.config import load_config
    from serving.prediction_log.reading import open_log
    from serving.rollout import step as steps
    from serving.rollout.pairs import find_asked, read_pairs

    loaded = load_config(config, set_)
    rules = loaded.rollout
    storage = open_folder(models, config, set_, root)
    contest = steps.find_contest(storage)
    if contest is None:
        step = steps.nothing_to_decide(storage)
    else:
        with open_log(log) as (_, store):
            pairs = read_pairs(store, contest.champion, contest.challenger)
        asked = {}
        if pairs:
            asked = find_asked(loaded, questions=questions or [], moments=as_of or [])
        step = steps.decide(contest, pairs, asked, rules, now=datetime.now(UTC))
        if rules.automatic and not dry_run:
            trust = find_trust(public_key, None, config, set_)
            policy = asked_policy(config, set_)
            step = steps.take(storage, step, rules, trust=trust, policy=policy)
            tell_labels(storage, config, set_, root)

    if json_:
        print(steps.as_json(step))
    else:
        print(steps.describe_step(step, automatic=rules.automatic, dry_run=dry_run))
    if step.exit_code:
        raise typer.Exit(step.exit_code)
