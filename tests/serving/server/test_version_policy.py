"""`models.config`: which versions are served, and the errors of one that is invalid."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.server.version_policy import ModelConfigError, VersionPolicy, read_policy

HEAD = 'model_config_list { config { name: "tiny" base_path: "/x" model_platform: "tensorflow" '


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", [7]),
        ("model_version_policy { latest { num_versions: 2 } }", [3, 7]),
        ("model_version_policy { latest { } }", [7]),
        ("model_version_policy { all { } }", [1, 3, 7]),
        ("model_version_policy { specific { versions: 3 versions: 1 versions: 9 } }", [1, 3]),
    ],
)
def test_policies(tmp_path: Path, text: str, chosen: list[int]) -> None:
    (tmp_path / "models.config").write_text(HEAD + text + " } }")
    assert read_policy(tmp_path, "tiny").choose([7, 1, 3]) == chosen


def test_without_a_file_the_newest_is_served(tmp_path: Path) -> None:
    assert read_policy(tmp_path, "tiny") == VersionPolicy()
    assert VersionPolicy().choose([2, 10, 9]) == [10]
    assert VersionPolicy().choose([]) == []


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "models.config").write_text(HEAD + 'version_labels { key: "stable" value: 3 } } }')
    assert read_policy(tmp_path, "tiny").labels == {"stable": 3}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model_config_list {", "expected a ModelServerConfig in text format"),
        (HEAD + "} }", "expected a model called other, found tiny; choose one with --name"),
        ("", "found none"),
        (
            HEAD.replace("tiny", "other") + "model_version_policy { specific { } } } }",
            "one or more specific versions",
        ),
    ],
)
def test_invalid_models_configs_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(ModelConfigError, match=reason):
        read_policy(tmp_path, "other")
