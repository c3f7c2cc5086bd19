"""The Grafana dashboard: by Grafana's own types, and on exactly the metrics that a watch writes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.watch.prometheus import GAUGES
from tests import npm

DASHBOARD = Path(__file__).parents[2] / "configs" / "monitoring" / "grafana-dashboard.json"
METRIC = re.compile(r"\bmastery_\w+")
SELECTED = re.compile(r"\b(mastery_\w+)\{([^}]*)\}")

# JSON has no enumerations: their values stand for them, and nothing else does.
CHECK = """
import type { Dashboard } from "@grafana/schema";
type Plain<T> = T extends string ? `${T}`
  : T extends number ? (`${T}` extends `${infer N extends number}` ? N : never)
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
export const dashboard: Plain<Dashboard> = CONTENT;
"""


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def faults(modules: Path, folder: Path, content: str) -> str:
    """Returns what TypeScript says of a dashboard; empty if it is one."""
    (folder / "node_modules").unlink(missing_ok=True)
    (folder / "node_modules").symlink_to(modules)
    (folder / "dashboard.ts").write_text(CHECK.replace("CONTENT", content), encoding="utf-8")
    done = subprocess.run(
        [modules / ".bin" / "tsc", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022",
         "--module", "nodenext", "dashboard.ts"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_it_is_a_dashboard_to_grafana(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    why = "Grafana's types of dashboards come from it"
    modules = npm.installed(request.config.cache.mkdir("npm"), why=why)
    content = DASHBOARD.read_text(encoding="utf-8")
    assert faults(modules, tmp_path, content) == ""
    for right, wrong in (('"gridPos"', '"gridpos"'), ('"refresh": 2', '"refresh": 9')):
        assert right in content
        assert "error TS" in faults(modules, tmp_path, content.replace(right, wrong))


def test_it_draws_what_a_watch_writes_and_all_of_it() -> None:
    drawn = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert drawn == set(GAUGES)


def test_it_selects_by_labels_that_metrics_have() -> None:
    for expression in expressions():
        for name, selectors in SELECTED.findall(expression):
            labels = re.findall(r"(\w+)\s*(?:=~|!=|=)", selectors)
            assert "model" in labels
            assert set(labels) <= set(GAUGES[name][1]), expression
    for panel in panels():
        for target in panel["targets"]:
            shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            [name, *_] = METRIC.findall(target["expr"])
            assert set(shown) <= set(GAUGES[name][1]), target


def test_variables_are_labels_of_metrics() -> None:
    variables = json.loads(DASHBOARD.read_text(encoding="utf-8"))["templating"]["list"]
    for variable in variables:
        if variable["type"] == "query":
            query = variable["query"]["query"]
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()  # type: ignore[union-attr]
            assert label in GAUGES[name][1]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())
