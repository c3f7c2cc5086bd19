"""`mastery models`: what has been pushed, what is served, and changes of that."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.governance_commands import (
    CheckOption,
    ExpectOption,
    WithoutApprovalOption,
    WitnessOption,
    asked_policy,
    print_check,
)
from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    EventsOption,
    JsonOption,
    ModelsOption,
    NameArgument,
    OptionalConfigOption,
    OptionalOutcomesOption,
    RootOption,
    SetOption,
    VersionArgument,
    complete_versions,
    open_folder,
    parse_version_number,
)
from pipeline.cli.signing_commands import PublicKeyOption, find_trust
from pipeline.cli.tracking_commands import tell_labels

ForceOption = Annotated[
    bool, typer.Option("--force", help="Allow a version not to be served; needs --reason.")
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")
]


def list_(
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    json_: JsonOption = False,
) -> None:
    """List the versions: labels, metrics, runs, and reasons not to serve them.

    Example:
        mastery models list --config configs/sample.yaml
    """
    import json

    from components.command.console import PlainConsole
    from serving.models.listing import list_versions, print_versions

    listing = list_versions(open_folder(models, config, set_, root))
    if json_:
        print(json.dumps(listing.model_dump(mode="json"), indent=1))
    else:
        print_versions(listing, PlainConsole())


def show(
    version: NameArgument,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    json_: JsonOption = False,
) -> None:
    """Print all that is known of a version: metrics, gates, lineage.

    Example:
        mastery models show stable --models s3://bucket/algebra
    """
    import json

    from components.command.console import PlainConsole
    from serving.models.card import changed_papers
    from serving.models.listing import list_versions, print_version, resolve

    storage = open_folder(models, config, set_, root)
    number = resolve(storage, version)
    listing = list_versions(storage)
    listed = next(item for item in listing.versions if item.version == number)
    problems = [*listed.problems, *changed_papers(storage, number)]
    found = listed.model_copy(update={"problems": problems})
    if json_:
        print(json.dumps(found.model_dump(mode="json"), indent=1))
    else:
        print_version(listing, found, PlainConsole())


def compare(
    a: NameArgument,
    b: NameArgument,
    events: EventsOption,
    outcomes: OptionalOutcomesOption = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="What decides; default: f1_macro, or rmse."),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", min=100, help="How many bootstrap samples to draw.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same intervals.")] = 1,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    json_: JsonOption = False,
) -> None:
    """Score two versions on the same log, and report whether the second is better.

    Take a log that neither version was trained on. Without --outcomes they are derived from the
    events, as those that the versions were trained on.

    Example:
        mastery models compare stable 1795328170 --models serving --events e.csv --outcomes o.csv
    """
    import json

    from components.command.console import PlainConsole
    from components.command.program import quiet_imports
    from serving.models.listing import resolve

    storage = open_folder(models, config, set_, root)
    numbers = resolve(storage, a), resolve(storage, b)
    with quiet_imports():
        from serving.models.compare import compare_versions, print_comparison

    compared = compare_versions(
        storage, *numbers, events, outcomes or [], metric=metric, draws=draws, seed=seed
    )
    if json_:
        print(json.dumps(compared.model_dump(mode="json", by_alias=True), indent=1))
    else:
        print_comparison(compared, PlainConsole())


def promote(
    version: VersionArgument,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    force: ForceOption = False,
    without_approval: WithoutApprovalOption = False,
    reason: ReasonOption = None,
    base_path: Annotated[
        str | None,
        typer.Option(
            "--base-path",
            metavar="PATH",
            help="The folder's path in TensorFlow Serving, if it differs; kept for later "
            "promotions.",
        ),
    ] = None,
    public_key: PublicKeyOption = None,
) -> None:
    """Make a version stable.

    Exit code 1: there is a reason not to serve it, and nothing was changed.

    Example:
        mastery models promote 1795328170 --config configs/sample.yaml
    """
    from serving.models import promotion

    storage = open_folder(models, config, set_, root)
    trust = find_trust(public_key, None, config, set_)
    entry = promotion.promote(
        storage,
        version,
        force=force,
        reason=reason,
        base_path=base_path,
        trust=trust,
        without_approval=without_approval,
        policy=asked_policy(config, set_),
    )
    print(promotion.describe_change(entry))
    tell_labels(storage, config, set_, root)


def rollback(
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    reason: ReasonOption = None,
) -> None:
    """Make the previous stable version stable again.

    A second rollback goes one version further back.

    Example:
        mastery models rollback --config configs/sample.yaml --reason "complaints"
    """
    from serving.models import promotion

    storage = open_folder(models, config, set_, root)
    print(promotion.describe_change(promotion.roll_back(storage, reason)))
    tell_labels(storage, config, set_, root)


def canary(
    version: Annotated[
        int | None,
        typer.Argument(
            metavar="[VERSION]",
            parser=parse_version_number,
            help="The version to try.",
            autocompletion=complete_versions,
        ),
    ] = None,
    share: Annotated[
        int, typer.Option("--share", min=1, max=99, help="Percent of the requests.")
    ] = 10,
    stop: Annotated[bool, typer.Option("--stop", help="Remove the label canary.")] = False,
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    force: ForceOption = False,
    without_approval: WithoutApprovalOption = False,
    reason: ReasonOption = None,
    public_key: PublicKeyOption = None,
) -> None:
    """Try a version with a share of the requests.

    The version gets the label canary. Its share is recorded in routing.json for the proxy that
    splits the requests.

    Example:
        mastery models canary 1795328170 --share 20 --config configs/sample.yaml
    """
    from components.errors import MasteryError
    from serving.models import promotion

    if (version is None) != stop:
        raise MasteryError("expected either a version or --stop.")

    storage = open_folder(models, config, set_, root)
    if version is None:
        entry = promotion.stop_canary(storage, reason)
    else:
        trust = find_trust(public_key, None, config, set_)
        entry = promotion.start_canary(
            storage,
            version,
            share,
            force=force,
            reason=reason,
            trust=trust,
            without_approval=without_approval,
            policy=asked_policy(config, set_),
        )
    print(promotion.describe_change(entry))
    tell_labels(storage, config, set_, root)


def prune(
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="How many of the newest versions to keep.")
    ],
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed.")
    ] = False,
    reason: ReasonOption = None,
) -> None:
    """Remove old versions.

    Versions that are served, that a rollback returns to, or that are newer than stable are kept.

    Example:
        mastery models prune --keep 5 --dry-run --config configs/sample.yaml
    """
    from serving.models import promotion

    storage = open_folder(models, config, set_, root)
    verb = "would remove" if dry_run else "removed"
    if dry_run:
        removed = promotion.plan_prune(storage, keep)
    else:
        removed = promotion.prune(storage, keep, reason)

    for version in removed:
        print(f"{verb} {storage.address}/{version}")
    if not removed:
        print("Nothing to remove.")


def log(
    models: ModelsOption = None,
    config: OptionalConfigOption = None,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Only this many entries, the latest.")
    ] = None,
    check: CheckOption = False,
    expect: ExpectOption = None,
    witness: WitnessOption = None,
    json_: JsonOption = False,
) -> None:
    """Print who changed what and when, or check that nobody changed the log itself.

    Exit code 1 with --check: the log was changed; the entries are named.

    Example:
        mastery models log --check --config configs/sample.yaml
    """
    import json

    from serving.models.changes import read_entries
    from serving.models.listing import describe_log

    storage = open_folder(models, config, set_, root)
    if check or expect is not None or witness is not None:
        print_check(storage, expect, witness, json_=json_)
        return
    entries = read_entries(storage, last)
    if json_:
        print(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1))
    else:
        print(describe_log(entries))
