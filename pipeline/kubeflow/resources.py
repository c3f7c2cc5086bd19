"""Asks for what a container gets: in Kubernetes' terms for Kubeflow, in machine types' terms for Vertex AI."""

from __future__ import annotations

from kfp import dsl, kubernetes

from components.config import Kubeflow
from components.config.resources import Resources


def apply_for_kubeflow(task: dsl.PipelineTask, resources: Resources, kubeflow: Kubeflow) -> None:
    """Sets image pull, CPU, memory, GPUs, placement, volumes, secrets, rights, retries and the time limit of a task.

    Placement, volumes, secrets and rights are the file's second document, which open-source Kubeflow reads. Of a
    container's rights it takes the user only: that it gains no privilege, has no capability and the runtime's
    seccomp profile is what Kubeflow sets by itself, from its release 2.16 on. No number stands here for the user:
    the image has one, and some clusters give each namespace its own.
    """
    _apply_common(task, resources)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu.type).set_accelerator_limit(resources.gpu.count)
    if resources.cpu:
        task.set_cpu_request(resources.cpu)
    if resources.memory:
        task.set_memory_request(resources.memory)
    for label, value in sorted(resources.node_selector.items()):
        kubernetes.add_node_selector(task, label, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    for volume in kubeflow.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path, volume.sub_path)
    for secret in kubeflow.secrets:
        kubernetes.use_secret_as_env(task, secret.name, dict(sorted(secret.variables.items())))
    if resources.timeout_seconds:
        kubernetes.set_timeout(task, resources.timeout_seconds)
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, kubeflow.image_pull_policy)
    if kubeflow.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, kubeflow.image_pull_secrets)


def apply_for_vertex(task: dsl.PipelineTask, resources: Resources, kubeflow: Kubeflow) -> None:
    """Sets CPU, memory, GPUs and retries; Vertex AI picks the machine by them and knows nothing of the rest."""
    del kubeflow
    _apply_common(task, resources)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu.vertex_type).set_accelerator_limit(
            resources.gpu.count
        )


def _apply_common(task: dsl.PipelineTask, resources: Resources) -> None:
    if resources.cpu:
        task.set_cpu_limit(resources.cpu)
    if resources.memory:
        task.set_memory_limit(resources.memory)
    retry = resources.retry
    if retry and retry.attempts:
        task.set_retry(
            retry.attempts,
            f"{retry.backoff_seconds}s",
            retry.backoff_factor,
            f"{retry.backoff_max_seconds}s",
        )
