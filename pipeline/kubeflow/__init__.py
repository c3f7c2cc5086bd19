"""The DAG on Kubeflow Pipelines: compiled, run in containers, and shown in its user interface."""
