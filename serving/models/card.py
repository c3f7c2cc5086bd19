"""Reads the model card of a version, together with what has become of the version since."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.command.escape import in_one_line
from components.config.metrics import describe_metric, main_metric_of
from components.contracts.contract import ContractError, Part
from components.contracts.evaluation import describe_slice, format_confidence
from components.contracts.papers import CARD_PAGE, VersionCard, Weakness
from components.errors import MasteryError
from serving.models.listing import ListedVersion, list_versions

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.contracts.decision_results import DecisionResults
    from serving.models.storage import Storage

_NAME = 14  # characters of the names of rows


class ShownCard(Part):
    """A model card, and what has become of the version since it was pushed.

    Attributes:
        card: as it was pushed.
        page: where its HTML is, as a path or URL.
        labels: the labels that the version has.
        state: whether it is in service, in a sentence.
        problems: reasons not to serve it, or not to believe its papers.
        incidents: what went wrong in use, a line each.
    """

    card: VersionCard
    page: str
    labels: list[str]
    state: str
    problems: list[str]
    incidents: list[str] = []


def read_card(storage: Storage, number: int) -> ShownCard:
    """Returns the card of a version.

    Raises:
        MasteryError: the version has no papers, or they cannot be read.
    """
    listing = list_versions(storage)
    listed = next(item for item in listing.versions if item.version == number)
    content = _read_paper(storage, number, VersionCard.FILE)
    try:
        card = VersionCard.from_json(content)
    except ContractError as error:
        raise ContractError(f"{_place(storage, number, VersionCard.FILE)}: {error}") from None

    is_first = not any(item.labels for item in listing.versions)
    return ShownCard(
        card=card,
        page=_place(storage, number, CARD_PAGE),
        labels=listed.labels,
        state=_describe_state(listed, nothing_promoted=is_first),
        problems=[*listed.problems, *changed_papers(storage, number)],
        incidents=[incident.describe() for incident in listed.incidents],
    )


def changed_papers(storage: Storage, number: int) -> list[str]:
    """Returns which papers of a version are not those that were pushed, as parts of sentences.

    Raises:
        MasteryError: the storage cannot be read.
    """
    return [
        f"{path} is missing" if content is None else f"{path} is not the one that was pushed"
        for path, digest in _pushed_papers(storage, number).items()
        if (content := storage.read(f"{storage.folder_of(number)}/{path}")) is None
        or hashlib.sha256(content).hexdigest() != digest
    ]


def render_card(storage: Storage, shown: ShownCard) -> str:
    """Returns the card as HTML, with incidents and whether the version is in service.

    Raises:
        MasteryError: the page is missing.
    """
    from components.papers.render import add_service  # Jinja is not needed to print a card

    number = shown.card.version
    content = _read_paper(storage, number, CARD_PAGE)
    return add_service(
        content.decode(),
        state=" ".join([shown.state, *(f"Not for serving: {text}." for text in shown.problems)]),
        incidents=shown.incidents,
        now=datetime.now(UTC),
    )


def print_card(shown: ShownCard, console: PlainConsole) -> None:
    """Prints the card on a page of a terminal."""
    card = shown.card
    rows = {
        "Answers": card.answers,
        "Purpose": card.written.get("purpose", ""),
        "Provider": card.written.get("provider", ""),
        "Not for": card.written.get("out_of_scope", ""),
        **_describe_figures(card),
        "Serves badly": "\n".join(map(_describe_weakness, card.weaknesses)),
        "Limits": "\n".join(card.limits),
        "Contest": card.written.get("contact", ""),
        "Incidents": "\n".join(map(in_one_line, shown.incidents)) or "none recorded",
        "Blank": _describe_blanks(card),
        "Card": shown.page,
    }

    console.print(f"{card.name} {card.version}", style="bold")
    console.print(shown.state, soft_wrap=True)
    for name, text in rows.items():
        for index, line in enumerate(text.splitlines()):
            console.print(f"{'' if index else name:<{_NAME}}{line}", soft_wrap=True)
    for problem in shown.problems:
        console.print(f"Not for serving: {problem}", style="bold red", soft_wrap=True)


def _read_paper(storage: Storage, number: int, path: str) -> bytes:
    content = storage.read(f"{storage.folder_of(number)}/{path}")
    if content is None:
        raise MasteryError(
            f"{_place(storage, number, path)}: expected the papers of version {number}, found "
            "none: it was pushed by an earlier version of Mastery. Run the pipeline again."
        )
    return content


def _pushed_papers(storage: Storage, number: int) -> dict[str, str]:
    """Returns the digests of a version's papers by their path; none without a usable manifest."""
    try:
        manifest = storage.read_manifest(number)
    except ContractError:
        return {}
    return manifest.release if manifest else {}


def _place(storage: Storage, number: int, path: str) -> str:
    return f"{storage.address}/{storage.folder_of(number)}/{path}"


def _describe_state(listed: ListedVersion, *, nothing_promoted: bool) -> str:
    """Returns whether a version is in service, in a sentence."""
    if listed.stopped:
        return f"Out of service: {listed.stopped}."
    labels = [label for label in listed.labels if label != "previous"]
    if labels:
        share = f", with {listed.share} % of the requests" if listed.share else ""
        return f"In service as {' and '.join(labels)}{share}."
    if nothing_promoted:
        return "No version was promoted yet: servers serve the newest one."
    if listed.loaded:
        return "Not in service, but still in the servers' memory."
    return "Not in service."


def _describe_figures(card: VersionCard) -> dict[str, str]:
    """Returns the most important figures, by the names of rows; empty where there is none."""
    overall, sure = card.overall, format_confidence(card.confidence)
    main = describe_metric(main_metric_of(card.task))
    quality = _figure(overall.value_of(main.name), overall.interval_of(main.name), sure)
    recalls = [
        f"{name} {_figure(overall.value_of('recall', name), None, '')}" for name in card.classes
    ]
    passed = sum(gate.passed for gate in card.gates)

    return {
        main.short[:1].upper() + main.short[1:]: (
            f"{quality}, judged on {overall.examples:,} outcomes"
        ),
        "Recall": ", ".join(recalls),
        "How sure": _describe_coverage(card),
        "Decisions": "\n".join(_describe_decision(card, item) for item in card.decisions),
        "Gates": f"{passed} of {len(card.gates)} passed",
    }


def _describe_coverage(card: VersionCard) -> str:
    """Returns how often the truth is among what is not ruled out; empty where that is unknown."""
    uncertainty = card.uncertainty
    measured = uncertainty.of("all") if uncertainty else []
    if uncertainty is None or not measured:
        return ""
    held = _figure(measured[0].coverage, measured[0].interval, format_confidence(card.confidence))
    what = "set of classes" if card.classes else "interval"
    return f"the answered {what} holds the truth in {held}; promised {uncertainty.promised:g}"


def _describe_decision(card: VersionCard, decision: DecisionResults) -> str:
    """Returns how a decision goes on the test split, and how early it is right."""
    overall, sure = card.overall, format_confidence(card.confidence)
    recall, precision = (
        _figure(
            overall.value_of(metric, decision=decision.name),
            overall.interval_of(metric, decision=decision.name),
            sure,
        )
        for metric in ("recall", "precision")
    )
    early = decision.early_warning.headline if decision.early_warning else ""
    found = f"{decision.name}: finds {recall} of {decision.who}"
    text = f"{found}, and is right about {precision} of those it names"
    return f"{text}\n{early}" if early else text


def _figure(value: float | None, interval: tuple[float, float] | None, sure: str) -> str:
    text = "–" if value is None else f"{value:.3f}"
    if interval is None:
        return text
    return f"{text} ({sure} interval {interval[0]:.3f} to {interval[1]:.3f})"


def _describe_weakness(weakness: Weakness) -> str:
    interval = "" if weakness.interval is None else f" ({_span(weakness.interval)})"
    doubt = "" if weakness.beyond_chance else "; chance may explain it"
    where = describe_slice(weakness.slice)
    value = f"{weakness.measure} {weakness.value:.3f}{interval}"
    return f"{where}: {value}, for all {weakness.overall:.3f}{doubt}"


def _span(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _describe_blanks(card: VersionCard) -> str:
    blanks = [blank.key for blank in card.blanks]
    if not blanks:
        return "nothing is left for the provider"
    count = "1 blank" if len(blanks) == 1 else f"{len(blanks)} blanks"
    return f"{count} left for the provider: {', '.join(blanks)}"
