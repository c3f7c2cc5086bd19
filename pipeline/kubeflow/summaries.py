"""What a person sees of a node in Kubeflow's user interface: a few lines of Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from components.command.escape import for_markdown
from pipeline.run.launch import NodeResult


def summarise_node(result: NodeResult, told: str | None) -> str:
    """Returns a node's summary as Markdown: how it ended, its figures, where its outputs are.

    Args:
        result: how it went.
        told: the text of the file that `RESULT_FILES` has for the node.
    """
    took = f"{result.seconds:.1f} s"
    ended = f"Taken from the cache in {took}." if result.state == "cached" else f"Done in {took}."
    facts = _FACTS[result.node_id](json.loads(told)) if told and result.node_id in _FACTS else []
    if result.node_id.endswith("Resolver") and not any(result.outputs.values()):
        facts = ["Found no blessed model."]
    places = [
        f"- {name}: {for_markdown(item.uri)}"
        for name, items in sorted(result.outputs.items())
        for item in items
    ]
    return "\n".join([f"# {result.node_id}", "", ended, "", *facts, "", *places, ""])


def _examples(log: Any) -> list[str]:
    rows = [
        f"| {for_markdown(split)} | {sum(classes.values()):,} |"
        for split, classes in log["splits"].items()
    ]
    return [
        f"{log['events']:,} events, {log['outcomes']:,} outcomes of {log['learners']:,} learners in {log['units']:,} "
        f"units; {log['cold_starts']:,} cold starts.",
        "",
        "| split | examples |", "|---|--:|", *rows,
    ]  # fmt: skip


def _anomalies(verdict: Any) -> list[str]:
    anomalies = verdict["anomalies"]
    if not anomalies:
        return ["No anomalies."]
    shown = ("split", "column", "expected", "found")
    rows = [
        f"| {' | '.join(for_markdown(str(item[name])) for name in shown)} |" for item in anomalies
    ]
    return ["| split | column | expected | found |", "|---|---|---|---|", *rows]


def _fit(history: Any) -> list[str]:
    best = history["epochs"][history["best_epoch"] - 1]
    figures = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if name != "epoch")
    return [
        f"{len(history['epochs'])} epochs, best {history['best_epoch']}: {figures}; stopped: {history['stopped']}.",
        f"Started from {for_markdown(history['warm_start'] or 'fresh weights')}; "
        f"fitted on: {for_markdown(history['device'])}.",
        *(
            [f"**Warning**: {for_markdown(history['device_warning'])}."]
            if history["device_warning"]
            else []
        ),
    ]


def _judgement(metrics: Any) -> list[str]:
    gates = [f"| {for_markdown(gate['text'])} |" for gate in metrics["gates"]]
    overall = metrics["overall"]
    values = [
        f"| {name} | {'–' if value is None else format(value, '.4f')} |"
        for name, value in overall["metrics"].items()
    ]
    verdict = (
        "**All gates passed.**" if metrics["blessed"] else "**A gate failed: nothing is pushed.**"
    )
    return [
        verdict, "", "| gate |", "|---|", *gates, "",
        f"On {overall['examples']:,} test examples:", "", "| metric | value |", "|---|--:|", *values,
    ]  # fmt: skip


def _push(push: Any) -> list[str]:
    if push["pushed"]:
        return [f"Pushed {for_markdown(push['destination'])}."]
    return [f"Pushed nothing: {for_markdown(push['reason'])}."]


_FACTS: dict[str, Callable[[Any], list[str]]] = {
    "ExampleGen": _examples,
    "DataGate": _anomalies,
    "Trainer": _fit,
    "Evaluator": _judgement,
    "Pusher": _push,
}
