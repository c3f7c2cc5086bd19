"""Names and amounts that Kubernetes would refuse are refused when the configuration is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.config import Config, load_config
from components.errors import ConfigError
from tests.components.config.any_config import BASE

LONG = "a" * 64


def refused(folder: Path, setting: str) -> str:
    file = folder / "algebra.yaml"
    file.write_text(yaml.safe_dump(BASE))
    with pytest.raises(ConfigError) as caught:
        load_config(file, [f"kubeflow.{setting}"])
    return str(caught.value)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("namespace=Team_A", "kubeflow.namespace: expected lower-case letters, digits and -"),
        (f"namespace={LONG}", "expected at most 63 characters, found 64"),
        ("service_account=Trainer", "kubeflow.service_account: expected lower-case letters"),
        (f"service_account={'a.' * 126}bb", "expected at most 253 characters, found 254"),
        ("secrets=[{name: My_Secret, variables: {k: V}}]", "kubeflow.secrets[0].name: expected"),
        (
            "secrets=[{name: s, variables: {'a b': V}}]",
            "expected letters, digits, -, _ and . in a secret's key",
        ),
        ("secrets=[{name: s, variables: {k: 1V}}]", "expected the name of an environment variable"),
        (
            "secrets=[{name: s, variables: {k: V}}, {name: t, variables: {k: V}}]",
            "every variable once, found V",
        ),
        ("image_pull_secrets=[ok, Not]", "kubeflow.image_pull_secrets[1]: expected"),
        (
            "volumes=[{claim: a.b, path: /x}]",
            "kubeflow.volumes[0].claim: expected lower-case letters, digits and -",
        ),
        ("volumes=[{claim: a, path: x}]", "kubeflow.volumes[0].path: expected an absolute path"),
        ("volumes=[{claim: a, path: /}]", "expected a path below /"),
        ("volumes=[{claim: a, path: '/x:y'}]", "without a colon"),
        (
            "volumes=[{claim: a, path: /x}, {claim: b, path: /x/}]",
            "every mount path once, found /x",
        ),
        ("volumes=[{claim: a, path: /x, sub_path: ../y}]", "expected a relative path"),
        ("image='Registry/Mastery:1'", "kubeflow.image: expected an image such as"),
        ("image='a:b:c'", "expected an image"),
        (f"image=a:{'b' * 129}", "expected at most 128 characters in an image's tag, found 129"),
        ("common.image='a b'", "kubeflow.common.image: expected an image"),
        ("common.node_selector={a b: c}", "expected letters, digits, -, _ and . in a label's name"),
        ("common.node_selector={Team/pool: c}", "expected lower-case letters, digits, - and ."),
        (
            f"common.node_selector={{pool: {LONG}}}",
            "kubeflow.common.node_selector.pool: expected at most 63",
        ),
        ("common.tolerations=[{key: '-x'}]", "kubeflow.common.tolerations[0].key: expected"),
        (
            "common.tolerations=[{key: x, operator: Equal}]",
            "tolerations[0].value: expected one with operator: Equal",
        ),
        (
            "common.tolerations=[{operator: Equal, value: x}]",
            "tolerations[0].key: expected one with operator: Equal, found none",
        ),
        ("timezone=Zurich", "kubeflow.timezone: expected a time zone such as Europe/Zurich"),
        (
            "common.gpu={type: gpu}",
            "kubeflow.common.gpu.type: expected a resource with its vendor in front",
        ),
        ("common.cpu=0", "kubeflow.common.cpu: expected more than 0"),
        ("common.cpu=0.0001", "expected cores such as"),
        ("common.memory=1.5Gi", "kubeflow.common.memory: expected whole bytes such as"),
        ("common.memory=4K", "expected whole bytes"),
        (
            "common.retry={backoff_seconds: 700}",
            "retry.backoff_seconds: expected at most backoff_max_seconds (600)",
        ),
        ("root=mastery", "kubeflow.root: expected an absolute path without "),
        ("root=/a/../b", "kubeflow.root: expected an absolute path"),
        ("config=conf.yaml", "kubeflow.config: expected an absolute path"),
        ("storage='s3://'", "kubeflow.storage: "),
        (
            "token_env='MY TOKEN'",
            "kubeflow.token_env: expected the name of an environment variable",
        ),
    ],
)
def test_what_would_be_refused_is_named_with_its_key(
    tmp_path: Path, setting: str, says: str
) -> None:
    assert says in refused(tmp_path, setting)


@pytest.mark.parametrize(
    "kubeflow",
    [
        {"image": "mastery"},
        {"image": "localhost:5000/team/mastery"},
        {"image": f"ghcr.io/team/mastery:1.2@sha256:{'0' * 64}"},
        {
            "namespace": "a" * 63,
            "service_account": "a.b-c",
            "image_pull_secrets": ["registry.example"],
        },
        {
            "volumes": [
                {"claim": "c", "path": "/mastery/"},
                {"claim": "c", "path": "/data", "sub_path": "log/2026"},
            ]
        },
        {
            "common": {
                "cpu": 0.5,
                "memory": "512Mi",
                "node_selector": {"cloud.example/pool": 1, "empty": ""},
            }
        },
        {"common": {"cpu": "500m", "memory": 1073741824, "tolerations": [{"operator": "Exists"}]}},
        {"root": "/mastery/", "config": "/app/configs/a.yaml", "storage": "gs://bucket/a/b"},
    ],
)
def test_what_kubernetes_takes_is_taken(kubeflow: dict[str, object]) -> None:
    Config.model_validate({**BASE, "kubeflow": kubeflow})


def test_a_path_has_one_spelling() -> None:
    assert (
        Config.model_validate({**BASE, "kubeflow": {"root": "//mastery//runs/"}}).kubeflow.root
        == "/mastery/runs"
    )
