"""The fingerprint of our code: the same for the same sources, another for any change in them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

from components.config import Config
from components.node.cache_key import PACKAGE, ROOT, code_fingerprint, read_code
from components.node.node_id import Node
from pipeline.dag import create_pipeline
from pipeline.layout import Layout

ROOTS = {
    Node.EXAMPLE_GEN: ["components.example_gen.executor", "components.example_gen.driver"],
    Node.STATISTICS_GEN: ["components.statistics_gen.executor"],
    Node.DATA_GATE: ["components.data_gate.executor"],
    Node.TRANSFORM: ["components.transform.executor"],
    Node.TRAINER: ["components.trainer.run.run_fn"],
    Node.EVALUATOR: ["components.evaluator.executor"],
    Node.SERVING_CHECK: ["components.serving_check.executor"],
    Node.PUSHER: ["components.pusher.executor"],
    Node.REPORT: ["components.report.executor"],
}
# Processes that a node starts by the name of their module.
STARTED = {Node.TRAINER: ["components.trainer.distributed.worker"]}
MANY = pytest.mark.parametrize("node", ROOTS)

# Imports a node's modules as the node would, and prints what of ours came with them; for each
# node ours are forgotten, and the libraries kept, which take most of the time.
IMPORT_ALL = """
import importlib, json, sys
found = {}
for node, modules in json.loads(sys.argv[1]).items():
    for name in [name for name in sys.modules if name.split(".")[0] == "components"]:
        del sys.modules[name]
    for module in modules:
        importlib.import_module(module)
    found[node] = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "components"]
print(json.dumps(found))
"""


def modules(node: Node) -> list[str]:
    return [name.removesuffix(".run_fn") for name in ROOTS[node]]


def python_files(node: Node) -> set[str]:
    return {name for name in read_code(*ROOTS[node]) if name.endswith(".py")}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of our sources that may be edited."""
    root = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / PACKAGE, root / PACKAGE, ignore=ignored)
    return root


@MANY
def test_an_edit_of_any_file_that_a_node_runs_changes_its_key(tree: Path, node: Node) -> None:
    key = code_fingerprint(*ROOTS[node], root=tree)
    for name in read_code(*ROOTS[node], root=tree):
        content = (tree / name).read_bytes()
        (tree / name).write_bytes(content + b"\n# edited\n")
        assert code_fingerprint(*ROOTS[node], root=tree) != key, name
        (tree / name).write_bytes(content)
    assert code_fingerprint(*ROOTS[node], root=tree) == key


@MANY
def test_an_edit_of_any_other_file_does_not_change_the_key(tree: Path, node: Node) -> None:
    key = code_fingerprint(*ROOTS[node], root=tree)
    inside = {tree / name for name in read_code(*ROOTS[node], root=tree)}
    outside = [path for path in tree.rglob("*") if path.is_file() and path not in inside]
    assert outside
    contents = {path: path.read_bytes() for path in outside}
    for path, content in contents.items():
        path.write_bytes(content + b"\n# edited\n")
    assert code_fingerprint(*ROOTS[node], root=tree) == key
    for path, content in contents.items():
        path.write_bytes(content)


@MANY
def test_the_walk_finds_what_the_compiled_code_imports(node: Node) -> None:
    finder = ModuleFinder([str(ROOT)])  # without the libraries, whose imports then lead nowhere
    for module in [*modules(node), *STARTED.get(node, [])]:
        finder.import_hook(module, fromlist=["*"])
    found = {
        Path(module.__file__).relative_to(ROOT).as_posix()
        for name, module in finder.modules.items()
        if name.partition(".")[0] == PACKAGE
    }
    # The finder follows what only type checkers import, too; the next test looks the other way.
    assert python_files(node) <= found


def test_the_walk_misses_nothing_that_an_executor_really_imports() -> None:
    asked = json.dumps({node: modules(node) for node in ROOTS})
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, asked], cwd=ROOT, capture_output=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    for node in ROOTS:
        imported = {Path(file).relative_to(ROOT).as_posix() for file in found[node]}
        assert len(imported) > 3
        assert imported <= python_files(node), node


@pytest.fixture
def config() -> Config:
    return Config.model_validate(
        {
            "name": "campus",
            "data": {"events": "e.parquet", "outcomes": "o.parquet"},
            "schema": str(ROOT / "schemas/sample.pbtxt"),
            "label": {"column": "mastery", "classes": ["low", "high"]},
            "steps": {"features": {"dwell": {"type": "numeric"}}},
            "gates": [{"metric": "f1_macro", "min": 0.5}],
        }
    )


def test_every_node_has_the_fingerprint_of_its_code(tmp_path: Path, config: Config) -> None:
    keys = {}
    for node in create_pipeline(config, Layout(tmp_path, config.name)).components:
        text = node.exec_properties.get("custom_config")
        properties = json.loads(text) if text else node.exec_properties
        keys[node.id] = properties.get("code_fingerprint")
    found = {node: key for node, key in keys.items() if key is not None}
    assert found == {node: code_fingerprint(*ROOTS[node]) for node in ROOTS}


@pytest.mark.parametrize("args", [[], ["--runner=FlinkRunner"]], ids=["here", "elsewhere"])
def test_the_code_of_our_runner_is_in_the_key_of_what_runs_on_it(
    tmp_path: Path, config: Config, args: list[str]
) -> None:
    beam = config.beam.model_copy(update={"args": args})
    pipeline = create_pipeline(
        config.model_copy(update={"beam": beam}), Layout(tmp_path, config.name)
    )
    key = code_fingerprint("components.node.in_memory_runner")
    keyed = {
        node.id
        for node in pipeline.components
        if any(key in option for option in getattr(node.executor_spec, "beam_pipeline_args", []))
    }
    on_beam = {Node.EXAMPLE_GEN, Node.STATISTICS_GEN, Node.TRANSFORM}
    assert keyed == (set() if args else on_beam)


def test_the_templates_of_the_report_are_code() -> None:
    assert "components/report/templates/report.css" in read_code(*ROOTS[Node.REPORT])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A package of ours with one node."""
    write(tmp_path, "components/__init__.py", "")
    write(tmp_path, "components/shared/__init__.py", "")
    write(tmp_path, "components/shared/names.py", "NAME = 1\n")
    write(tmp_path, "components/node/__init__.py", "")
    write(tmp_path, "components/node/executor.py", "class Executor: ...\n")
    write(tmp_path, "components/node/page.html", "<p>")
    write(tmp_path, "components/node/templates/style.css", "p {}")
    write(tmp_path, "components/node/README.md", "not code")
    write(tmp_path, "components/node/inner/__init__.py", "")
    write(tmp_path, "components/node/inner/data.csv", "1")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


BEFORE = {
    "components/__init__.py",
    "components/node/__init__.py",
    "components/node/executor.py",
    "components/node/page.html",
    "components/node/templates/style.css",
}
SHARED = {"components/shared/__init__.py", "components/shared/names.py"}


def test_data_beside_a_module_counts(small: Path) -> None:
    assert {*read_code("components.node.executor", root=small)} == BEFORE
    write(small, "components/node/__pycache__/page.html", "")
    write(small, "components/node/.page.html.swp", "")
    assert {*read_code("components.node.executor", root=small)} == BEFORE


@pytest.mark.parametrize(
    "source",
    [
        "import components.shared.names",
        "from components.shared import names",
        "from components.shared.names import NAME",
        "from ..shared import names",
        "from ..shared.names import NAME",
        "def run():\n    from components.shared import names",
        "class Executor:\n    def Do(self):\n        import components.shared.names",
        "try:\n    pass\nexcept OSError:\n    from components.shared import names",
        "match 1:\n    case 1:\n        from components.shared import names",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from components.shared import names",
        "PROCESS = 'components.shared.names'",
        'FUNCTION = "components.shared.names.NAME"',
    ],
)
def test_every_way_to_import_a_module_counts(small: Path, source: str) -> None:
    write(small, "components/node/executor.py", source)
    assert {*read_code("components.node.executor", root=small)} == BEFORE | SHARED


@pytest.mark.parametrize(
    "source",
    [
        "if TYPE_CHECKING:\n    from components.shared import names",
        "if typing.TYPE_CHECKING:\n    from components.shared import names",
        "# from components.shared import names",
        "'''\nfrom components.shared import names\n'''",
        "import os\nfrom pathlib import Path",
    ],
)
def test_modules_that_are_never_imported_do_not_count(small: Path, source: str) -> None:
    write(small, "components/node/executor.py", source)
    assert {*read_code("components.node.executor", root=small)} == BEFORE


def test_modules_that_import_each_other_are_read_once(small: Path) -> None:
    write(small, "components/node/executor.py", "from components.shared import names")
    write(small, "components/shared/names.py", "import components.node.executor")
    assert {*read_code("components.node.executor", root=small)} == BEFORE | SHARED


def test_a_file_under_another_name_changes_the_key(small: Path) -> None:
    before = code_fingerprint("components.node.executor", root=small)
    templates = small / "components/node/templates"
    (templates / "style.css").rename(templates / "page.css")
    assert code_fingerprint("components.node.executor", root=small) != before


@pytest.mark.parametrize(
    "name",
    [
        "components.absent",
        "components",
        "absent.executor",
        "components.node.absent",
        "components.node.absent.run",
    ],
)
def test_a_name_that_leads_to_no_module_is_an_error(small: Path, name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"there is no module {name} in components"):
        code_fingerprint(name, root=small)
