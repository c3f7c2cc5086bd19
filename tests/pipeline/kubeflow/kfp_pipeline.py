"""A pipeline for KFP's own compiler, which reads annotations and therefore bears no `from __future__` import here."""

from kfp import dsl


@dsl.container_component
def node(name: str) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(
        image="example.org/mastery:1",
        command=["python", "-m", "pipeline.kubeflow.container"],
        args=[name],
    )


@dsl.pipeline(name="algebra")
def algebra(epochs: int, rate: float = 0.1, tags: list = ["a"]) -> None:  # noqa: ARG001, B006
    with dsl.ExitHandler(node(name="Finish").set_display_name("Finish"), name="run"):
        trainer = node(name="Trainer").set_display_name("Trainer")
        with dsl.If(epochs > 0, name="trained"):
            node(name="Pusher").set_display_name("Pusher").after(trainer)
