"""Models and tensors as the Open Inference Protocol describes them, by REST and by gRPC."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from components.model_version.folders import version_number
from serving.server.open_inference import InferRequest, datatype, wire_shape
from serving.server.predictor import ModelChoice
from serving.server.request_error import invalid, listed

if TYPE_CHECKING:
    from serving.server.model_signatures import Array, Signature, TensorSpec
    from serving.server.servable import Servable

PLATFORM = "tensorflow_savedmodel"
EXTENSIONS = ("binary_tensor_data",)


def model_choice(name: str, version_or_label: str) -> ModelChoice:
    """Returns the model of a request; versions are texts, so a label may stand for one.

    >>> model_choice("sample", "12").version, model_choice("sample", "stable").label
    (12, 'stable')
    """
    if not version_or_label:
        return ModelChoice(name)
    number = version_number(version_or_label)
    if number is None:
        return ModelChoice(name, label=version_or_label)
    return ModelChoice(name, number)


def server_metadata() -> dict[str, Any]:
    """Returns the server's name and version, and its extensions of the protocol."""
    return {"name": "mastery", "version": version("mastery"), "extensions": list(EXTENSIONS)}


def model_metadata(
    servable: Servable, name: str, available: list[int], signature_name: str = ""
) -> dict[str, Any]:
    """Returns the tensors of a signature; `serving_default` if none is named.

    Raises:
        RequestError: there is no such signature, or the protocol has no name for a dtype.
    """
    signature = servable.model.signature(signature_name)
    return {
        "name": name,
        "versions": [str(number) for number in available],
        "platform": PLATFORM,
        "inputs": [_tensor_metadata(spec) for spec in signature.inputs.values()],
        "outputs": [_tensor_metadata(spec) for spec in signature.outputs.values()],
    }


def _tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": datatype(spec), "shape": wire_shape(spec)}


def requested_outputs(request: InferRequest, signature: Signature) -> dict[str, bool]:
    """Returns the outputs that a request asks for, and whether as raw bytes.

    Raises:
        RequestError: there is no such output.
    """
    unknown = sorted(request.outputs.keys() - signature.outputs.keys())
    if unknown:
        raise invalid(
            f"outputs: expected some of {', '.join(signature.outputs)}; found {listed(unknown)}; "
            f"the signature is {signature.name}."
        )
    return dict(request.outputs) or dict.fromkeys(signature.outputs, request.is_raw)


def to_raw(values: Array) -> bytes:
    """Returns an array's raw bytes."""
    if values.dtype == object:
        texts = values.ravel().tolist()
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
