"""What servers are told of a run, gathered from the root: its record, files and executions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from components.contracts.anomalies import FoundAnomalies
from components.contracts.contract import Contract, ContractError
from components.contracts.evaluation import Evaluation
from components.contracts.log_summary import LogSummary
from components.contracts.names import SERVED
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import NodeRecord, RunRecord
from components.contracts.training_history import TrainingHistory
from components.model_version.folders import version_number
from components.node.node_id import Node
from pipeline.store.lookups import NodeResult, StoredArtifact, open_history

if TYPE_CHECKING:
    from components.config import Config
    from pipeline.layout import Layout

File = TypeVar("File", bound=Contract)


@dataclass(frozen=True)
class NodeFacts:
    """What one node of a run did.

    Attributes:
        record: its state and times.
        started: when it began.
        ended: when it ended.
        inputs: artifacts that it read, by input.
        outputs: artifacts that it wrote, by output.
    """

    record: NodeRecord
    started: datetime
    ended: datetime
    inputs: Mapping[str, list[StoredArtifact]] = field(default_factory=dict)
    outputs: Mapping[str, list[StoredArtifact]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFacts:
    """What a run did; what it did not get to, or whose files are gone, is None.

    Attributes:
        record: the run's record.
        config: what was run.
        nodes: those that ran, in order.
        history: how the network was fitted.
        evaluation: what was measured.
        summary: what the log held.
        anomalies: what DataGate found.
        model: the folder of the SavedModel.
    """

    record: RunRecord
    config: Config
    nodes: list[NodeFacts]
    history: TrainingHistory | None = None
    evaluation: Evaluation | None = None
    summary: LogSummary | None = None
    anomalies: FoundAnomalies | None = None
    model: Path | None = None

    @property
    def ended(self) -> datetime:
        """When the run ended."""
        return self.record.started + timedelta(seconds=self.record.seconds or 0.0)

    @property
    def version(self) -> int | None:
        """The number of the version that was pushed."""
        pushed = self.record.pushed_version
        return version_number(pushed.rstrip("/").rpartition("/")[2]) if pushed else None


def gather_facts(config: Config, layout: Layout, run: str) -> RunFacts:
    """Returns what a run that has ended did.

    Args:
        config: the configuration of now; the run's own, if it was kept, replaces it.
        layout: where the run is.
        run: its id.

    Raises:
        MasteryError: its record or the metadata store cannot be read.
    """
    folder = layout.run(run)
    record = RunRecord.read(folder)
    with suppress(ContractError):  # runs of containers have no plan
        config = RunPlan.read(folder).config

    with open_history(config.metadata, layout, patience=0) as history:
        executions = history.latest_executions(run)
        results = {node: history.result_of(item) for node, item in executions.items()}
        inputs = {node: history.inputs_of(item) for node, item in executions.items()}

    nodes = []
    for item in record.nodes:
        if item.state == "waiting":
            continue
        execution, result = executions.get(item.id), results.get(item.id)
        created = execution.create_time_since_epoch / 1000 if execution else None
        began = datetime.fromtimestamp(created, UTC) if created else record.started
        started = item.started or began
        ended = started + timedelta(seconds=item.seconds or 0.0)
        outputs = result.outputs if result else {}
        nodes.append(NodeFacts(item, started, ended, inputs.get(item.id, {}), outputs))

    return RunFacts(
        record=record,
        config=config,
        nodes=nodes,
        history=_read(TrainingHistory, results.get(Node.TRAINER)),
        evaluation=_read(Evaluation, results.get(Node.EVALUATOR)),
        summary=_read(LogSummary, results.get(Node.EXAMPLE_GEN)),
        anomalies=_read(FoundAnomalies, results.get(Node.DATA_GATE)),
        model=_model_of(results.get(Node.TRAINER)),
    )


def _read(kind: type[File], result: NodeResult | None) -> File | None:
    """Returns the file with a node's results; None if there is none that can be read."""
    if result is None or result.file is None:
        return None
    with suppress(ContractError):
        return kind.read_file(result.file)
    return None


def _model_of(result: NodeResult | None) -> Path | None:
    models = result.outputs.get("model") if result else None
    folder = Path(models[0].uri, SERVED) if models else None
    return folder if folder and folder.is_dir() else None
