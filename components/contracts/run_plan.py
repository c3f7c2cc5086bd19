"""`plan.json`: what a run is asked to do, for the process that runs its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from components.config.root import Config
from components.contracts.contract import Contract
from components.contracts.run_record import Retraining
from components.node.node_id import Node


class RunPlan(Contract):
    """What to run.

    The connection to the metadata store is not in it; a worker reads that from its environment.

    Attributes:
        run: the run's id.
        root: the folder that keeps everything.
        config: the configuration.
        use_cache: whether unchanged nodes are taken from earlier runs.
        from_node: this node and those after it are executed anew.
        to_node: this node is the last.
        nodes: only these nodes, where a container has a part of the run; None for all.
        only_new_data: whether the run stops after ExampleGen if it would repeat the latest one.
        retraining: why the model is trained again, if `mastery retrain` decided it.
    """

    FILE: ClassVar[str] = "plan.json"

    run: str
    root: Path
    config: Config
    use_cache: bool = True
    from_node: Node | None = None
    to_node: Node | None = None
    nodes: list[Node] | None = None
    only_new_data: bool = False
    retraining: Retraining | None = None

    def to_json(self) -> str:
        """Returns the file's text, without `notify`: an address to notify may be a secret."""
        hidden = {"config": {"notify"}}
        return self.model_dump_json(by_alias=True, indent=2, exclude=hidden) + "\n"
