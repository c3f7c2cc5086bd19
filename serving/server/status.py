"""What has become of a version."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from grpc import StatusCode
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus


class State(Enum):
    """Stages of a version, by TensorFlow Serving's names and numbers."""

    LOADING = ModelVersionStatus.LOADING
    AVAILABLE = ModelVersionStatus.AVAILABLE
    UNLOADING = ModelVersionStatus.UNLOADING
    END = ModelVersionStatus.END


@dataclass(frozen=True)
class Status:
    """Stage of a version, and what went wrong if something did."""

    state: State
    code: StatusCode = StatusCode.OK
    message: str = ""


def status_response(statuses: dict[int, Status]) -> GetModelStatusResponse:
    """Returns the answer to GetModelStatus, newest version first."""
    response = GetModelStatusResponse()
    for version, status in sorted(statuses.items(), reverse=True):
        item = response.model_version_status.add(version=version, state=status.state.value)
        item.status.error_code = status.code.value[0]
        item.status.error_message = status.message
    return response
