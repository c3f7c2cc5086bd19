"""`mastery models`, as people type it."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from pipeline.cli.options import RUNS, pushed_to
from serving.models.storage import Storage
from tests.pipeline.cli.typed import mastery
from tests.serving.models.folders import write_version

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with two versions of the sample's model, and a third that failed a gate."""
    for number in (11, 12, 13):
        write_version(tmp_path / "runs" / "sample" / "serving", number, failed=number == 13)
    return tmp_path / "runs"


def models(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    code = mastery(monkeypatch, "models", *arguments)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_a_version_is_promoted_compared_and_rolled_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    where = ["--config", str(REPOSITORY / "configs" / "sample.yaml"), "--root", str(root)]

    def run(*arguments: str) -> tuple[int, str]:
        return models(monkeypatch, capsys, *arguments, *where)

    assert run("log") == (0, "Nothing has been changed yet.\n")
    assert run("promote", "11") == (0, "stable 11 (revision 1)\n")
    assert run("canary", "12", "--share", "20")[1].startswith(
        "stable 11; canary 12, to get 20 % of the requests"
    )
    code, listed = run("list")
    assert code == 0
    assert "canary 20 %" in listed
    assert "13 is not for serving: a gate failed" in listed
    content = json.loads(run("list", "--json")[1])
    assert [version["labels"] for version in content["versions"]] == [["stable"], ["canary"], []]
    assert json.loads(run("show", "canary", "--json")[1])["metrics"]["f1_macro"] == 0.9
    assert "Run       run-11" in run("show", "stable")[1]
    code, refused = run("promote", "13")
    assert (code, "Nothing was changed. --force --reason TEXT" in refused) == (1, True)
    assert run("promote", "12") == (0, "stable 12 (revision 3)\n")
    assert run("rollback", "--reason", "complaints") == (0, "stable 11 (revision 4)\n")
    assert run("promote", "12")[0] == 0
    code, pruned = run("prune", "--keep", "0", "--dry-run")
    assert (code, pruned) == (0, "Nothing to remove.\n")
    log = run("log")[1]
    assert "rollback: stable 12 → 11\n      reason: complaints\n" in log
    assert [entry["action"] for entry in json.loads(run("log", "--last", "2", "--json")[1])] == [
        "rollback",
        "promote",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["list"], "expected --config FILE or --models DIR_OR_URL, found neither"),
        (
            ["list", "--models", "absent"],
            "absent: expected the folder that versions are pushed to, found none",
        ),
        (["list", "--models", "ftq://host/a"], "expected an address such as s3://bucket/folder"),
        (["canary", "--models", "."], "expected either a version or --stop"),
        (["promote", "٣", "--models", "."], "expected a number that `mastery models list` shows"),
        (["canary", "1.0", "--models", "."], "expected a number that `mastery models list` shows"),
        (["promote", "--models", ".", "--", "-5"], "shows, found '-5'"),
        (
            ["show", "7", "--models", "."],
            r"expected a version 7 (a number, or stable, canary, previous), found none",
        ),
    ],
)
def test_a_change_that_is_not_possible_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    code, printed = models(monkeypatch, capsys, *arguments)
    assert (code, text in printed) == (2, True)


def test_old_versions_are_pruned_and_a_canary_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    where = ["--models", str(root / "sample" / "serving")]

    def run(*arguments: str) -> tuple[int, str]:
        return models(monkeypatch, capsys, *arguments, *where)

    assert run("promote", "12")[0] == 0
    assert run("prune", "--keep", "0", "--dry-run") == (0, f"would remove {where[1]}/11\n")
    assert run("prune", "--keep", "0") == (0, f"removed {where[1]}/11\n")
    assert run("canary", "13", "--force", "--reason", "a trial")[0] == 0
    assert run("canary", "--stop") == (0, "stable 12 (revision 4)\n")


@pytest.mark.parametrize("json_", [True, False])
def test_versions_are_compared_on_another_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, json_: bool
) -> None:
    compared = types.SimpleNamespace(model_dump=lambda **_: {"verdict": "better"})
    asked = []

    def compare_versions(storage: Storage, *arguments: object, **options: object) -> object:
        asked.append((storage.address, arguments, options))
        return compared

    module = types.ModuleType("serving.models.compare")
    module.compare_versions = compare_versions  # type: ignore[attr-defined]
    module.print_comparison = lambda found, _: print(found is compared)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "serving.models.compare", module)

    folder = str(root / "sample" / "serving")
    log = ["--models", folder, "--events", "e.csv", "--outcomes", "o.csv", "--draws", "200"]
    code, printed = models(monkeypatch, capsys, "compare", "11", "12", *log, *["--json"] * json_)
    assert code == 0
    assert asked == [
        (folder, (11, 12, ["e.csv"], ["o.csv"]), {"metric": None, "draws": 200, "seed": 1})
    ]
    assert printed == ('{\n "verdict": "better"\n}\n' if json_ else "True\n")


def test_promote_and_rollback_import_no_tensorflow(root: Path) -> None:
    """That keeps both commands under a second."""
    code = (
        "import sys\n"
        "from serving.models import promotion\n"
        "from serving.models.stores import open_storage\n"
        "storage = open_storage(sys.argv[1])\n"
        "promotion.promote(storage, 11)\n"
        "promotion.promote(storage, 12)\n"
        "promotion.roll_back(storage)\n"
        "heavy = {'tensorflow', 'numpy', 'polars', 'rich', 'fsspec', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    folder = str(root / "sample" / "serving")
    ran = subprocess.run(
        [sys.executable, "-c", code, folder],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert ran.stdout.strip() == "[]"


def test_a_configured_place_in_an_object_store_is_where_runs_push_to() -> None:
    config = REPOSITORY / "configs" / "sample.yaml"
    assert pushed_to(config, ["push.directory=s3://bucket/a"], RUNS) == "s3://bucket/a"
