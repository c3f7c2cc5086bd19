"""The manifest for KServe has only fields that KServe documents."""

from __future__ import annotations

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.serving.manifests.conftest import SERVING

QUANTITIES = {"type": "object", "additionalProperties": {"type": "string"}}


def _closed(required: list[str], **properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": properties,
    }


TEXT, COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
MODEL = _closed(
    ["modelFormat", "storageUri"],
    modelFormat=_closed(["name"], name={"const": "tensorflow"}, version=TEXT),
    runtimeVersion=TEXT,
    storageUri={"type": "string", "pattern": "^(pvc|gs|s3)://[^/]+/.+"},
    args={"type": "array", "items": TEXT},
    resources=_closed([], requests=QUANTITIES, limits=QUANTITIES),
)
PREDICTOR = _closed(
    ["model"],
    canaryTrafficPercent={"type": "integer", "minimum": 0, "maximum": 100},
    minReplicas=COUNT,
    maxReplicas=COUNT,
    serviceAccountName=TEXT,
    nodeSelector=QUANTITIES,
    tolerations={"type": "array"},
    model=MODEL,
)
SERVICE = _closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "serving.kserve.io/v1beta1"},
    kind={"const": "InferenceService"},
    metadata=_closed(
        ["name"], name=TEXT, namespace=TEXT, labels=QUANTITIES, annotations=QUANTITIES
    ),
    spec=_closed(["predictor"], predictor=PREDICTOR),
)


def test_the_inference_service_has_the_fields_that_kserve_knows() -> None:
    service = yaml.safe_load((SERVING / "kserve" / "inference-service.yaml").read_text())
    jsonschema.validate(service, SERVICE)
    predictor = service["spec"]["predictor"]
    assert {*service["metadata"]["labels"].values()} == {"cluster-local"}
    assert (
        "--port=0" in predictor["model"]["args"]
    )  # else KServe's runtime opens gRPC to every client of the pod
    assert 0 < predictor["canaryTrafficPercent"] < 100
    # What KServe hands on to the pod fits the pod's schema.
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "checked"},
        "spec": {
            **{
                name: predictor[name]
                for name in ("nodeSelector", "tolerations", "serviceAccountName")
            },
            "containers": [
                {
                    "name": "model",
                    "args": predictor["model"]["args"],
                    "resources": predictor["model"]["resources"],
                }
            ],
        },
    }
    kubernetes_validate.validate(pod, "1.37", strict=True)


def test_the_check_sees_a_wrong_field() -> None:
    service = yaml.safe_load((SERVING / "kserve" / "inference-service.yaml").read_text())
    service["spec"]["predictor"]["canaryPercent"] = 10
    with pytest.raises(jsonschema.ValidationError, match="canaryPercent"):
        jsonschema.validate(service, SERVICE)
