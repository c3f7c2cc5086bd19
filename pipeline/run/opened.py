"""Opens what a run has left, for notebooks and scripts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.evaluation import Evaluation
from components.contracts.log_summary import LogSummary
from components.contracts.names import PREDICTIONS_FILE
from components.contracts.run_plan import RunPlan
from components.contracts.training_history import TrainingHistory
from components.errors import MasteryError
from components.node.node_id import Node
from pipeline.layout import Layout
from pipeline.run.record import read_records

if TYPE_CHECKING:
    import polars as pl

    from components.contracts.run_record import RunRecord


@dataclass
class OpenedRun:
    """A run that has evaluated a model.

    Attributes:
        record: how it went.
        root: the folder that keeps everything.
    """

    record: RunRecord
    root: Path

    @cached_property
    def evaluation(self) -> Evaluation:
        """Metrics and gates, on the test split."""
        return Evaluation.read_file(self._metrics)

    @cached_property
    def history(self) -> TrainingHistory:
        """How the network was fitted, epoch by epoch."""
        return TrainingHistory.read_file(self._file_of(Node.TRAINER))

    @cached_property
    def log(self) -> LogSummary:
        """What the log held that the run has read."""
        return LogSummary.read_file(self._file_of(Node.EXAMPLE_GEN))

    def predictions(self) -> pl.DataFrame:
        """Returns a row per outcome of the test split: keys, label, and what the model said."""
        import polars as pl

        return pl.read_parquet(self._metrics.parent / PREDICTIONS_FILE)

    def _repr_html_(self) -> str:
        return f"{self.record._repr_html_()}\n{self.evaluation._repr_html_()}"

    @property
    def _metrics(self) -> Path:
        return Path(self.record.metrics or "")

    def _file_of(self, node: Node) -> Path:
        """Returns the file with a node's results.

        Raises:
            MasteryError: ML Metadata does not know it.
        """
        from pipeline.store.lookups import open_history

        layout = Layout(self.root, self.record.name)
        settings = RunPlan.read(layout.run(self.record.run)).config.metadata
        with open_history(settings, layout) as history:
            execution = history.latest_executions(self.record.run).get(node)
            file = None if execution is None else history.result_of(execution).file
        if file is None:
            raise MasteryError(f"run {self.record.run}: {node} has left no results.")
        return file


def open_run(root: str | Path = "runs", run: str | None = None) -> OpenedRun:
    """Opens a run below a root: the latest that has metrics, or the one of this id.

    Raises:
        MasteryError: there is none.
    """
    folder = Path(root).resolve()
    records = [record for record in read_records(folder) if record.metrics]
    wanted = [record for record in records if run in (None, record.run)]
    if not wanted:
        what = f"run {run}" if run else "a run"
        raise MasteryError(
            f"expected {what} with metrics below {root}, found none. `mastery runs` lists all runs."
        )
    return OpenedRun(wanted[-1], folder)
