"""Lists the versions: their manifests, their labels, the reasons not to serve them, the log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from components.command.escape import in_one_line
from components.contracts.contract import ContractError, Part
from components.contracts.manifest import Manifest, RecordedDecision, RecordedGate
from components.contracts.provenance import DataProvenance
from components.contracts.serving_state import CANARY, STABLE, AuditEntry, ServedState
from components.errors import MasteryError
from components.model_version.folders import SAVED_MODEL, version_number
from components.model_version.verify import difference
from serving.models.approvals import ApprovalStatus, describe_approvals, status_of
from serving.models.changes import current_state, read_entries
from serving.models.incidents import Incident, incidents_in

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.model_version.signature import Signed, Trust
    from serving.models.storage import Storage

PREVIOUS = "previous"  # names the version that a rollback goes back to; servers know no such label

# The first two of these that a version has are listed beside it.
SHOWN_METRICS = ("f1_macro", "auc", "rmse", "r2")

_LISTED = 5  # versions that an error names


@dataclass(frozen=True)
class Version:
    """A version as its folder describes it.

    Attributes:
        number: the number that the folder's name stands for.
        servable: whether there is a `saved_model.pb`.
        manifest: its manifest; None where it has none that can be used.
        problems: reasons not to serve it, each a part of a sentence.
        altered: the one among them that its files are not those that were pushed.
    """

    number: int
    servable: bool
    manifest: Manifest | None = None
    problems: tuple[str, ...] = ()
    altered: str | None = None


class ListedVersion(Part):
    """A version in a listing; what its manifest does not say is None.

    Attributes:
        version: its number.
        labels: the labels it has, and `previous` where a rollback would go back to it.
        share: percent of the requests that it is to get as canary.
        loaded: whether servers are to hold it in memory.
        servable: whether a server can load it.
        problems: reasons not to serve it.
        stopped: by whom it, or the whole model, was taken out of service, when and why; None if it
            was not.
        incidents: what went wrong with it, oldest first.
        approvals: who approved it, and whether that is enough.
        unapproved: what is missing.
        papers: its papers, by their path below its folder.
    """

    version: int
    labels: list[str]
    share: int | None
    loaded: bool
    servable: bool
    problems: list[str]
    pushed_at: str | None
    run: str | None
    data: DataProvenance | None
    code: str | None
    config_fingerprint: str | None
    baseline: str | None
    model_sha256: str | None
    papers: list[str] = []
    metrics: dict[str, float | None]
    decisions: list[RecordedDecision]
    gates: list[RecordedGate]
    stopped: str | None
    incidents: list[Incident]
    pushed_by: str | None
    approvals: ApprovalStatus
    unapproved: str | None


class Listing(Part):
    """All versions in a serving folder.

    Attributes:
        address: the folder's path or URL.
        model: the model's name; None before the first promotion.
        note: what is unfinished or was edited by hand.
        versions: oldest first. The version of a label is listed even when its files are gone.
    """

    address: str
    model: str | None
    note: str | None
    versions: list[ListedVersion]


def read_version(storage: Storage, number: int, *, servable: bool) -> Version:
    """Returns what a version's manifest says, without reading the model."""
    problems = [] if servable else [f"it is incomplete: there is no {SAVED_MODEL}"]
    try:
        manifest = storage.read_manifest(number)
    except ContractError as error:
        problems.append(f"its {Manifest.FILE} cannot be used: {error}")
        return Version(number, servable, None, tuple(problems))

    if manifest is None:
        problems.append(f"it has no {Manifest.FILE}, so it is unknown whether it passed its gates")
        return Version(number, servable, None, tuple(problems))
    if manifest.gates is None:
        problems.append(f"its {Manifest.FILE} does not say whether it passed its gates")
    failed = [gate.text for gate in manifest.gates or [] if not gate.passed]
    problems += [f"a gate failed: {text}" for text in failed]
    if manifest.version != number:
        problems.append(f"its {Manifest.FILE} is that of version {manifest.version}")
    return Version(number, servable, manifest, tuple(problems))


def verify_stored(storage: Storage, number: int, trust: Trust) -> Signed:
    """Returns who signed a version; one in an object store is downloaded for that.

    Raises:
        SignatureError: its signature is not good.
        MasteryError: a key cannot be read, or the storage.
    """
    from components.model_version.signature import SignatureError, verify_signature

    with storage.local_copy(number) as folder:
        try:
            return verify_signature(folder, trust, number=number)
        except SignatureError as error:  # it names the copy
            where = f"{storage.address}/{storage.folder_of(number)}"
            raise SignatureError(str(error).replace(str(folder), where)) from None


def check_version(storage: Storage, number: int, trust: Trust | None = None) -> Version:
    """Returns what `read_version` does, after comparing all files with those that were pushed.

    Args:
        storage: the serving folder.
        number: the version's.
        trust: whose signature it has to have; None where none is asked for.

    Raises:
        MasteryError: there is no such version, or a key cannot be read.
    """
    if number not in storage.versions():
        raise _no_such_version(storage, str(number))
    version = read_version(storage, number, servable=number in storage.servable())
    manifest = version.manifest
    if trust is not None and version.servable:
        from components.model_version.signature import SignatureError

        try:
            verify_stored(storage, number, trust)
        except SignatureError as error:
            return replace(version, problems=(*version.problems, str(error).removesuffix(".")))
    if not version.servable or manifest is None or not manifest.has_digests:
        return version

    try:
        with storage.local_copy(number) as folder:
            found = difference(folder, manifest)
    except OSError as error:
        problem = f"its files cannot be read: {error.strerror} ({error.filename})"
    else:
        if found is None:
            return version
        problem = f"its files are not those that were pushed: {found}"
    return Version(number, version.servable, manifest, (*version.problems, problem), problem)


def list_versions(storage: Storage) -> Listing:
    """Returns all versions with their labels, metrics and lineage.

    Raises:
        MasteryError: the storage cannot be read.
    """
    state, note = current_state(storage)
    entries = read_entries(storage)
    incidents = incidents_in(entries)
    servable = storage.servable()
    labelled = {number for number in (state.stable, state.canary) if number is not None}

    versions = []
    for number in sorted({*storage.versions(), *labelled}):
        version = read_version(storage, number, servable=number in servable)
        approvals = status_of(storage, version, entries)
        described = _describe(version, state, state.previous(servable), approvals)
        told = [incident for incident in incidents if incident.version == number]
        versions.append(described.model_copy(update={"incidents": told}))
    return Listing(address=storage.address, model=state.name or None, note=note, versions=versions)


def resolve(storage: Storage, name: str) -> int:
    """Returns the version that a number, or one of stable, canary and previous, names.

    Raises:
        MasteryError: there is no such version.
    """
    number = version_number(name)
    if number is None:
        state, _ = current_state(storage)
        labels = {
            STABLE: state.stable,
            CANARY: state.canary,
            PREVIOUS: state.previous(storage.servable()),
        }
        number = labels.get(name)

    if number is None or number not in storage.versions():
        raise _no_such_version(storage, f"{name} (a number, or stable, canary, previous)")
    return number


def print_versions(listing: Listing, console: PlainConsole) -> None:
    """Prints one line per version, the newest last."""
    from rich.table import Table  # promoting a version does not need it

    versions = listing.versions
    if not versions:
        console.print(f"No versions in {listing.address} yet.", soft_wrap=True)
        return

    measured = {name for version in versions for name in version.metrics}
    known = [name for name in SHOWN_METRICS if name in measured][:2]
    columns = ("Version", "Label", *known, "Pushed", "Run")
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    for version in versions:
        label = ", ".join(version.labels)
        table.add_row(
            str(version.version),
            f"{label} {version.share} %" if version.share else label,
            *(format_number(version.metrics.get(name)) for name in known),
            (version.pushed_at or "–")[:10],
            version.run or "–",
        )
    console.print(table)

    for version in versions:
        for problem in version.problems:
            line = f"{version.version} is not for serving: {problem}"
            console.print(line, style="bold red", soft_wrap=True)
        if version.unapproved:
            line = f"{version.version} is not approved: {in_one_line(version.unapproved)}"
            console.print(line, style="bold yellow", soft_wrap=True)
    for stop in dict.fromkeys(version.stopped for version in versions if version.stopped):
        console.print(f"{stop}.", style="bold red", soft_wrap=True)
    if listing.note:
        console.print(listing.note, style="bold yellow", soft_wrap=True)


def print_version(listing: Listing, version: ListedVersion, console: PlainConsole) -> None:
    """Prints everything that is known of a version."""
    data = version.data or DataProvenance()
    span = "" if data.span is None else f", span {data.span}"
    facts = {
        "Version": version.version,
        "Label": ", ".join(version.labels) or None,
        "Folder": f"{listing.address}/{version.version}",
        "Pushed": version.pushed_at,
        "By": version.pushed_by,
        "Run": version.run,
        "Data": f"{data.fingerprint[:12]}{span}" if data.fingerprint else None,
        "Config": version.config_fingerprint,
        "Code": version.code,
        "Baseline": version.baseline,
        "SHA-256": version.model_sha256,
        "Papers": ", ".join(version.papers) or None,
    }
    for name, value in facts.items():
        console.print(f"{name:<10}{'–' if value is None else value}", soft_wrap=True)

    for name, metric in version.metrics.items():
        console.print(f"  {name:<20}{format_number(metric)}")
    for decision in version.decisions:
        console.print(f"  {describe_decision(decision)}", soft_wrap=True)
        if decision.early_warning:
            console.print(f"    {decision.early_warning}", soft_wrap=True)
    for gate in version.gates:
        style = "" if gate.passed else "bold red"
        console.print(f"  {gate.text}", style=style, soft_wrap=True)
    for line in describe_approvals(version.approvals):
        console.print(f"  {line}", soft_wrap=True)
    for problem in version.problems:
        console.print(f"Not for serving: {problem}", style="bold red", soft_wrap=True)
    if version.stopped:
        console.print(f"Out of service: {version.stopped}", style="bold red", soft_wrap=True)
    for incident in version.incidents:
        console.print(f"Incident: {in_one_line(incident.describe())}", soft_wrap=True)
    if version.unapproved:
        line = f"Not approved: {in_one_line(version.unapproved)}"
        console.print(line, style="bold yellow", soft_wrap=True)


def describe_decision(decision: RecordedDecision) -> str:
    """Returns a decision in one line: when it is taken, and how it went on the test split.

    >>> found = {"examples": 9, "of_class": 4, "named": 5, "right": 3, "recall": 0.75,
    ...          "intervals": {"recall": (0.7, 0.8)}}
    >>> call = {"name": "call", "class": "low", "threshold": 0.25, "measured": found}
    >>> describe_decision(RecordedDecision.model_validate(call))
    'decision call: low from 0.25 on; recall 0.7500 (0.7000 to 0.8000)'
    """
    parts = [f"decision {decision.name}: {decision.class_} from {decision.threshold:.4g} on"]
    for metric in ("recall", "precision", "alarm_rate", "cost"):
        value = getattr(decision.measured, metric, None)
        if decision.measured is None or value is None:
            continue
        interval = decision.measured.intervals.get(metric)
        ends = " to ".join(map(format_number, interval or ()))
        parts.append(f"{metric} {format_number(value)}{f' ({ends})' if ends else ''}")
    line = f"{parts[0]}; {', '.join(parts[1:])}" if parts[1:] else parts[0]
    return f"{line}; {decision.note}" if decision.note else line


def describe_log(entries: list[AuditEntry]) -> str:
    """Returns one line per entry of the audit log, the latest last.

    Objections that were overruled, and the reason, follow on lines of their own.
    """
    lines = []
    for entry in entries:
        time = entry.time[:19].replace("T", " ")
        what = f"{entry.action}: {'; '.join(_changes(entry)) or '–'}"
        lines.append(f"{entry.revision:>4}  {time}  {in_one_line(entry.who)}  {what}")
        lines += [f"      overruled: {in_one_line(problem)}" for problem in entry.forced]
        if entry.reason:
            lines.append(f"      reason: {in_one_line(entry.reason)}")
    return "\n".join(lines) or "Nothing has been changed yet."


def format_number(value: float | None) -> str:
    """Returns a metric as people read it, or a dash where it is not defined."""
    return "–" if value is None else f"{value:.4f}"


def _describe(
    version: Version, state: ServedState, previous: int | None, approvals: ApprovalStatus
) -> ListedVersion:
    number = version.number
    manifest = version.manifest or Manifest()
    holders = {STABLE: state.stable, CANARY: state.canary, PREVIOUS: previous}
    stop = state.stop_of(number) or state.out_of_service

    return ListedVersion(
        version=number,
        labels=[label for label, holder in holders.items() if holder == number],
        share=state.share if number == state.canary else None,
        loaded=number in state.loaded,
        servable=version.servable,
        problems=list(version.problems),
        pushed_at=manifest.pushed_at,
        run=manifest.run,
        data=manifest.data,
        code=manifest.code,
        config_fingerprint=manifest.config_fingerprint,
        baseline=manifest.baseline,
        model_sha256=manifest.model_sha256,
        papers=sorted(manifest.release),
        metrics=manifest.metrics or {},
        decisions=manifest.decisions,
        gates=manifest.gates or [],
        stopped=None if stop is None else stop.describe(state.name),
        incidents=[],
        pushed_by=manifest.pushed_by,
        approvals=approvals,
        unapproved=approvals.missing,
    )


def _changes(entry: AuditEntry) -> list[str]:
    before, after = entry.before, entry.after
    labels = {
        STABLE: (before.stable, after.stable),
        CANARY: (before.canary, after.canary),
    }
    changes = []
    for label, (old, new) in labels.items():
        if old != new:
            changes.append(f"{label} {old or '–'} → {new or '–'}")

    if entry.action in ("stop", "resume", "incident"):
        what = "all versions" if entry.version is None else f"version {entry.version}"
        changes.insert(0, f"{what}, {entry.severity}" if entry.severity else what)
    if entry.action == "canary":
        changes.append(f"share {after.share} %")
    if entry.approval is not None:
        approval = entry.approval
        changes.append(f"{entry.version} by {in_one_line(approval.by)} ({approval.means})")
    if entry.policy is not None:
        changes.append(f"approvals needed: {entry.policy.needed}")
    if entry.removed:
        changes.append(f"removed {', '.join(map(str, entry.removed))}")
    return changes


def _no_such_version(storage: Storage, wanted: str) -> MasteryError:
    there = ", ".join(map(str, storage.versions()[-_LISTED:])) or "none"
    return MasteryError(f"{storage.address}: expected a version {wanted}, found {there}.")
