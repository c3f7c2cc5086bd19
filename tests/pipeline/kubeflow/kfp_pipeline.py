"""A pipeline for KFP's own compiler, which reads annotations: no `from __future__` here."""

from kfp import dsl


@dsl.container_component
def node(name: str) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(
        image="example.org/mastery:1",
        command=["python", "-m", "pipeline.kubeflow.container"],
        args=[name],
    )


@dsl.pipeline(name="algebra")
def algebra(events: str = "", push: bool = True) -> None:  # noqa: ARG001
    with dsl.ExitHandler(node(name="Finish").set_display_name("Finish"), name="run"):
        trainer = node(name="Trainer").set_display_name("Trainer")
        with dsl.If(push == True, name="trained"):  # noqa: E712 (Kubeflow compares, in the cluster)
            node(name="Pusher").set_display_name("Pusher").after(trainer)
