"""What calls for a retraining: drift, worse quality, new data, or nothing at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.config.spans import describe_spans
from components.contracts.names import OLDER
from components.contracts.provenance import DataProvenance
from components.contracts.watch_report import WatchReport
from components.errors import MasteryError
from components.event_log.deliveries import find_tables
from components.event_log.fingerprint import fingerprint_of
from components.event_log.log_spec import LogSpec
from components.event_log.problems import raise_if_any
from components.event_log.spans import choose_spans
from pipeline.layout import Layout
from pipeline.run.record import read_records

if TYPE_CHECKING:
    from components.config.root import Config
    from components.contracts.run_record import RunRecord
    from components.event_log.sources import Listing
    from components.event_log.spans import ChosenSpans


@dataclass(frozen=True)
class VersionInService:
    """The version that answers now.

    Attributes:
        number: its number.
        folder: where its files are on this machine.
    """

    number: int
    folder: Path


@dataclass(frozen=True)
class Cause:
    """Whether something calls for a retraining.

    Attributes:
        calls: whether it does.
        why: what was found, in a sentence without its full stop.
        columns: what has drifted.
    """

    calls: bool
    why: str
    columns: tuple[str, ...] = ()


def find_new_data(config: Config, root: Path) -> Cause:
    """Returns whether there are data that the latest finished run of this root did not have.

    Args:
        config: of the retraining: its spans, its window and its share of older learners.
        root: where runs keep everything.

    Raises:
        LogError: files or spans are missing.
    """
    data = provenance_of(config)
    ended = [item for item in read_records(root, config.name) if _has_ended(item)]
    if not ended:
        return Cause(calls=True, why="no run has been to its end yet")
    latest = ended[-1]
    known = latest.data or DataProvenance()
    if known.fingerprint == data.fingerprint:
        return Cause(calls=False, why=f"no new data since run {latest.run}")

    new = [name for name in data.spans if name not in {*known.spans, *known.replayed}]
    if new:
        return Cause(calls=True, why=f"new data since run {latest.run}: {describe_spans(new)}")
    where = f" of {describe_spans(data.spans)}" if data.spans else ""
    return Cause(calls=True, why=f"the data{where} are others than those of run {latest.run}")


def _has_ended(record: RunRecord) -> bool:
    return record.state in ("passed", "gates failed") and record.metrics is not None


def find_drift(config: Config, root: Path, version: Path) -> Cause:
    """Returns whether the configured log drifted away from the data of a version.

    Args:
        config: its `data.span` says what is new.
        root: where the run that made the version keeps everything.
        version: the version's folder.

    Raises:
        MasteryError: drift cannot be measured.
    """
    from pipeline.watch.drift import measure_drift

    report = measure_drift(config, version=version, root=root)
    columns = dict.fromkeys(column.column for column in report.drifted)
    why = report.headline.removesuffix(".")
    return Cause(
        calls=report.calls_for_retraining, why=f"{why[0].lower()}{why[1:]}", columns=(*columns,)
    )


def provenance_of(config: Config) -> DataProvenance:
    """Returns which data ExampleGen would read, as it writes them down; without their version.

    Raises:
        LogError: files or spans are missing.
    """
    spec = LogSpec.of(config)
    every = [*config.data.events, *config.data.outcome_files]
    chosen = choose_spans(every, config.data.span, with_older=spec.replay > 0)
    found = _find(config, chosen)
    if chosen.older:
        older = _find(config, chosen.older)
        found |= {f"{OLDER}{table}": listing for table, listing in older.items()}
    return DataProvenance(
        fingerprint=fingerprint_of(found, spec),
        span=chosen.spans[-1].number if chosen.spans else 0,
        spans=chosen.names,
        replayed=chosen.older.names if chosen.older else [],
        replay=spec.replay if chosen.older else None,
    )


def _find(config: Config, chosen: ChosenSpans) -> dict[str, Listing]:
    found = find_tables(config, chosen)
    raise_if_any(problem for listing in found.values() for problem in listing.problems)
    return found


def find_worse_quality(config: Config, root: Path, version: VersionInService) -> Cause:
    """Returns whether `mastery watch` found the quality of the version in service too low.

    Args:
        config: names the pipeline.
        root: the folder that `mastery watch` wrote `watch.json` into, with everything else.
        version: in service now; a report from before it was says nothing about it.

    Raises:
        MasteryError: there is no report, or it did not measure quality.
    """
    folder = Layout(root, config.name).runs.parent
    advice = "run `mastery watch --db ...` with the answers' database, which measures quality"
    if not (folder / WatchReport.FILE).exists():
        raise MasteryError(f"{folder / WatchReport.FILE}: expected a report, found none; {advice}.")
    report = WatchReport.read(folder)
    when = report.as_of[:16].replace("T", " ")
    if version.number not in {item.version for item in report.versions}:
        why = f"the last report of `mastery watch`, of {when}, is not of version {version.number}"
        return Cause(calls=False, why=f"{why}; {advice}")
    if report.quality is None:
        raise MasteryError(
            f"{folder / WatchReport.FILE}: expected the quality of answers, found none measured "
            f"on {when}; {advice}."
        )
    found = [finding.text for finding in report.findings if finding.kind == "quality"]
    if found:
        texts = " ".join(found).removesuffix(".")
        return Cause(calls=True, why=f"quality, as `mastery watch` found on {when}: {texts}")
    return Cause(calls=False, why=f"quality is as expected by `mastery watch` of {when}")
