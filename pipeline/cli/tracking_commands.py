"""`mastery tracking sync` and `mastery tensorboard`: runs in the tools that people have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import (
    NO_SETTINGS,
    RUNS,
    ConfigOption,
    RootOption,
    SetOption,
    open_folder,
)

if TYPE_CHECKING:
    from components.config import Config
    from serving.models.storage import Storage


def sync(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
) -> None:
    """Tell servers (section tracking) of runs and labels that they were not told of.

    A run is told once; calling this again changes nothing.

    Exit code 0: all is told; 2: something could not be.

    Example:
        mastery tracking sync --config configs/sample.yaml
    """
    from components.config import load_config
    from components.errors import ConfigError, MasteryError
    from pipeline.tracking.tell import tell, untold_runs

    loaded = load_config(config, set_)
    if not loaded.tracking.targets:
        raise ConfigError(
            f"{config}: expected tracking.mlflow or tracking.openlineage, found neither."
        )
    outcomes = tell(
        loaded, root, untold_runs(loaded, root), labels=_labels_of_root(loaded, config, set_, root)
    )

    for item in outcomes:
        if not item.problem:
            print(f"told    {item.target}: {item.run}")
    if not outcomes:
        print("Nothing to tell.")
    problems = [
        f"tracking.{item.target}: {item.run}: {item.problem}." for item in outcomes if item.problem
    ]
    if problems:
        raise MasteryError("\n".join(problems))


def _labels_of_root(
    loaded: Config, config: Path, set_: list[str], root: Path
) -> dict[str, int | None] | None:
    """Returns which versions have which labels; None where MLflow is not told of them."""
    from components.errors import MasteryError

    if loaded.tracking.mlflow is None or not loaded.tracking.mlflow.register_:
        return None
    try:
        labels = labels_of(open_folder(None, config, set_, root))
    except MasteryError:  # nothing was pushed yet
        return None
    return labels if any(labels.values()) else None


def labels_of(storage: Storage) -> dict[str, int | None]:
    """Returns which versions have which labels.

    Raises:
        MasteryError: the folder cannot be read.
    """
    from components.contracts.serving_state import CANARY, STABLE
    from serving.models.changes import current_state

    state, _ = current_state(storage)
    return {STABLE: state.stable, CANARY: state.canary}


def tell_labels(storage: Storage, config: Path | None, set_: list[str], root: Path) -> None:
    """Tells the servers of a configuration which versions now have which labels.

    Nothing that goes wrong here fails the command: the change itself has been made.

    Args:
        storage: the serving folder.
        config: the configuration; None where the command was given the folder alone.
        set_: overrides of its values.
        root: where runs keep everything.
    """
    if config is None:
        return
    from components.config import load_config
    from pipeline.tracking.tell import track_labels

    loaded = load_config(config, set_)
    if loaded.tracking.mlflow is not None:
        track_labels(loaded, root, labels_of(storage))


def tensorboard(
    config: ConfigOption,
    set_: SetOption = NO_SETTINGS,
    root: RootOption = RUNS,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0: any free one.")
    ] = 6006,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")
    ] = "127.0.0.1",
) -> None:
    """Show the curves and hyperparameters of all runs in TensorBoard, until Ctrl-C.

    Example:
        mastery tensorboard --config configs/sample.yaml --port 6006
    """
    from components.config import load_config
    from pipeline.tracking.tensorboard import serve_runs

    serve_runs(load_config(config, set_), root, host=host, port=port)
