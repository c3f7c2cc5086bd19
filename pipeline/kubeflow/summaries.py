"""What a person sees of a node in Kubeflow's user interface: a few lines of Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.launch import Artifact, NodeResult

Outputs = Mapping[str, list[Artifact]]


def summarise_node(result: NodeResult) -> str:
    """Returns a node's summary as Markdown: how it ended, its figures, where its outputs are."""
    took = f"{result.seconds:.1f} s"
    ended = f"Taken from the cache in {took}." if result.state == "cached" else f"Done in {took}."
    facts = _FACTS[result.node_id](result.outputs) if result.node_id in _FACTS else []
    places = [f"- {name}: `{item.uri}`" for name, items in sorted(result.outputs.items()) for item in items]
    return "\n".join([f"# {result.node_id}", "", ended, "", *facts, "", *places, ""])


def _examples(outputs: Outputs) -> list[str]:
    log = _read(outputs["examples"][0], "log_summary.json")
    rows = [f"| {split} | {sum(classes.values()):,} |" for split, classes in log["splits"].items()]
    return [
        f"{log['events']:,} events, {log['outcomes']:,} outcomes of {log['learners']:,} learners in {log['units']:,} "
        f"units; {log['cold_starts']:,} cold starts.",
        "",
        "| split | examples |", "|---|--:|", *rows,
    ]  # fmt: skip


def _anomalies(outputs: Outputs) -> list[str]:
    [found] = outputs.values()
    anomalies = _read(found[0], "verdict.json")["anomalies"]
    if not anomalies:
        return ["No anomalies."]
    rows = [f"| {item['split']} | {item['column']} | {item['expected']} | {item['found']} |" for item in anomalies]
    return ["| split | column | expected | found |", "|---|---|---|---|", *rows]


def _fit(outputs: Outputs) -> list[str]:
    history = _read(outputs["model_run"][0], "history.json")
    best = history["epochs"][history["best_epoch"] - 1]
    figures = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if name != "epoch")
    return [
        f"{len(history['epochs'])} epochs, best {history['best_epoch']}: {figures}; stopped: {history['stopped']}.",
        f"Started from {history['warm_start'] or 'fresh weights'}.",
    ]


def _judgement(outputs: Outputs) -> list[str]:
    metrics = _read(outputs["evaluation"][0], "metrics.json")
    gates = [f"| {gate['text']} |" for gate in metrics["gates"]]
    overall = metrics["overall"]
    values = [
        f"| {name} | {'–' if value is None else format(value, '.4f')} |" for name, value in overall["metrics"].items()
    ]
    verdict = "**All gates passed.**" if metrics["blessed"] else "**A gate failed: nothing is pushed.**"
    return [
        verdict, "", "| gate |", "|---|", *gates, "",
        f"On {overall['examples']:,} test examples:", "", "| metric | value |", "|---|--:|", *values,
    ]  # fmt: skip


def _push(outputs: Outputs) -> list[str]:
    push = _read(outputs["pushed_model"][0], "push.json")
    return [f"Pushed `{push['destination']}`." if push["pushed"] else f"Pushed nothing: {push['reason']}."]


def _resolved(outputs: Outputs) -> list[str]:
    return [] if any(outputs.values()) else ["Found no blessed model."]


def _read(artifact: Artifact, name: str) -> Any:
    return json.loads(Path(artifact.uri, name).read_text(encoding="utf-8"))


_FACTS: dict[str, Callable[[Outputs], list[str]]] = {
    "ExampleGen": _examples,
    "DataGate": _anomalies,
    "Trainer": _fit,
    "Evaluator": _judgement,
    "Pusher": _push,
    "BaselineResolver": _resolved,
    "WarmStartResolver": _resolved,
}
