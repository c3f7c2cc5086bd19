"""What a person reads of versions."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from components.command.console import PlainConsole

Json = dict[str, Any]

STYLES = {"better": "green", "worse": "bold red"}
SHOWN_METRICS = (
    "f1_macro",
    "auc",
    "rmse",
    "r2",
)  # the first two of them that there are, beside each version


def print_versions(listing: Json, console: PlainConsole) -> None:
    """Prints a line for every version, the newest last."""
    versions = listing["versions"]
    if not versions:
        console.print(f"No versions in {listing['address']} yet.", soft_wrap=True)
        return
    known = [
        name for name in SHOWN_METRICS if any(name in version["metrics"] for version in versions)
    ][:2]
    table = Table(
        "Version",
        "Label",
        *known,
        "Pushed",
        "Run",
        box=None,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for column in table.columns:
        column.no_wrap = True
    for version in versions:
        label = ", ".join(version["labels"])
        table.add_row(
            str(version["version"]), f"{label} {version['share']} %" if version["share"] else label,
            *(_number(version["metrics"].get(name)) for name in known),
            (version["pushed_at"] or "–")[:10], version["run"] or "–",
        )  # fmt: skip
    console.print(table)
    for version in versions:
        for problem in version["problems"]:
            line = f"{version['version']} is not for serving: {problem}"
            console.print(line, style="bold red", soft_wrap=True)
    if listing["note"]:
        console.print(listing["note"], style="bold yellow", soft_wrap=True)


def print_version(listing: Json, version: Json, console: PlainConsole) -> None:
    """Prints all that is known of a version."""
    data = version["data"] or {}
    span = "" if data.get("span") is None else f", span {data['span']}"
    facts = {
        "Version": version["version"],
        "Label": ", ".join(version["labels"]) or "–",
        "Folder": f"{listing['address']}/{version['version']}",
        "Pushed": version["pushed_at"],
        "Run": version["run"],
        "Data": f"{data['fingerprint'][:12]}{span}" if data.get("fingerprint") else None,
        "Config": version["config_fingerprint"],
        "Code": version["code"],
        "Baseline": version["baseline"],
        "SHA-256": version["model_sha256"],
    }
    for name, value in facts.items():
        console.print(f"{name:<10}{'–' if value is None else value}", soft_wrap=True)
    for name, value in version["metrics"].items():
        console.print(f"  {name:<20}{_number(value)}")
    for gate in version["gates"]:
        console.print(
            f"  {gate['text']}", style="" if gate["passed"] else "bold red", soft_wrap=True
        )
    for problem in version["problems"]:
        console.print(f"Not for serving: {problem}", style="bold red", soft_wrap=True)


def print_comparison(compared: Json, console: PlainConsole) -> None:
    """Prints a line for every metric, and what the one that decides says."""
    console.print(
        f"A is {compared['a']}, B is {compared['b']}: {compared['examples']:,} outcomes of", end=" "
    )
    console.print(f"{compared['learners']:,} learners")
    gone = compared["unpaired"]
    if any(gone.values()):
        console.print(
            f"Left out, because the other version has no answer: {gone['a']} of A, {gone['b']} of B"
        )
    table = Table(
        "Metric", "A", "B", "B − A", "95% interval", "B is", box=None, padding=(0, 2, 0, 0)
    )
    for row in compared["metrics"]:
        name = f"{row['metric']} {row['class']}" if row["class"] else row["metric"]
        interval = "–" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}"
        difference = "–" if row["difference"] is None else f"{row['difference']:+.4f}"
        found = (
            Text(row["verdict"], STYLES[row["verdict"]]) if row["verdict"] in STYLES else Text("–")
        )
        table.add_row(name, _number(row["a"]), _number(row["b"]), difference, interval, found)
    console.print(table)
    line = f"By {compared['metric']}, {compared['b']} is {compared['verdict']}"
    line += f" {'than' if compared['verdict'] in STYLES else 'from'} {compared['a']}."
    console.print(line, style="bold", soft_wrap=True)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
