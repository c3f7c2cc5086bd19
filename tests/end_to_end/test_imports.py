"""The modules that are imported for a node in advance are all that it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import REPOSITORY, environment

pytestmark = pytest.mark.slow

# Runs the nodes one after the other, and prints how many modules each has still imported.
RUN = """
import json, sys
from pathlib import Path
from components.config import load_config
from pipeline.layout import Layout
from pipeline.run.imports import import_early, lean_tfx, modules_of
from pipeline.run.prepare import nodes_of, snapshot_schema
from pipeline.store.connection import connection_config

with lean_tfx():
    from pipeline.dag import create_pipeline
    from pipeline.run.launch import compile_plan, launch_node

root, file, *settings = sys.argv[1:]
config = load_config(Path(file), settings)
layout = Layout(Path(root), config.name)
snapshot_schema(config, layout)
store = connection_config(config.metadata, layout)
plan = compile_plan(create_pipeline(config, layout), "run")
late = {}
for node in nodes_of(config):
    for name in modules_of(node, config):
        import_early(name)
    before = set(sys.modules)
    launch_node(plan, node, store=store)
    late[node] = sorted(set(sys.modules) - before)
Path(root, "late.json").write_text(json.dumps(late))
"""
GENERATED = "__autograph_generated_file"  # TensorFlow's, from functions that it traces
FEW = 20  # modules that a library imports within a function, which take milliseconds


def test_a_node_imports_hardly_anything_while_it_runs(sample: list[str], tmp_path: Path) -> None:
    settings = [value for value in sample if "=" in value]
    settings += ["training.warm_start=true", "evaluation.simple_models=[prior,logistic,trees]"]
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), sample[1], *settings],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment(),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    late = json.loads((tmp_path / "late.json").read_text(encoding="utf-8"))
    assert len(late) == 13
    for node, names in late.items():
        names = [name for name in names if not name.startswith(GENERATED)]
        assert len(names) < FEW, (node, names)
