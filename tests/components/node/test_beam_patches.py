from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, TypeOptions
from apache_beam.transforms import userstate
from apache_beam.transforms.core import CallableWrapperDoFn
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from components.node import beam_patches
from components.node.beam_patches import _get_dofn_specs, get_dofn_specs, patch_beam, view_as

SPEC = ReadModifyWriteStateSpec("last", beam.coders.VarIntCoder())
STATE = beam.DoFn.StateParam(SPEC)


class Plain(beam.DoFn):  # type: ignore[misc]
    def process(self, element: int) -> Iterator[int]:
        yield element


class Stateful(Plain):
    def process(self, element: int, state: Any = STATE) -> Iterator[Any]:
        yield element, state.read()

    def keep(self, element: int, state: Any = STATE) -> Iterator[Any]:
        yield element, state.read()


class Wrapping(Plain):
    """Has the signature of what it wraps, as the wrappers of Beam have."""

    def __init__(self, wrapped: beam.DoFn) -> None:
        self.wrapped = wrapped

    def _inspect_process(self) -> Any:
        return self.wrapped.get_function_arguments("process")


@pytest.mark.parametrize(
    "functions",
    [
        [Plain(), Plain(), Stateful(), Stateful()],
        [Wrapping(Plain()), Wrapping(Stateful()), Wrapping(Plain())],
        [CallableWrapperDoFn(lambda element: [element]), CallableWrapperDoFn(Stateful().keep)],
    ],
)
def test_the_state_of_a_function_is_what_beam_finds(functions: list[beam.DoFn]) -> None:
    found = [get_dofn_specs(function) for function in functions]
    assert found == [_get_dofn_specs(function) for function in functions]
    assert ({SPEC}, set()) in found
    assert (set(), set()) in found


def test_views_of_options_share_their_values() -> None:
    options = PipelineOptions(["--runner=FlinkRunner"])
    view = view_as(options, StandardOptions)
    assert view.runner == "FlinkRunner"
    assert view_as(options, StandardOptions) is view

    view.runner = "SparkRunner"
    assert view_as(options, StandardOptions).runner == "SparkRunner"
    assert options.get_all_options()["runner"] == "SparkRunner"
    view_as(options, TypeOptions).runtime_type_check = True
    assert view_as(view, TypeOptions).runtime_type_check is True
    assert view_as(PipelineOptions([]), StandardOptions).runner is None


def test_only_a_known_version_of_beam_is_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PipelineOptions, "view_as", beam_patches._view_as)
    monkeypatch.setattr(userstate, "get_dofn_specs", _get_dofn_specs)
    with monkeypatch.context() as context:
        context.setattr(beam, "__version__", "2.100.0")
        patch_beam()
        assert PipelineOptions.view_as is beam_patches._view_as
        assert userstate.get_dofn_specs is _get_dofn_specs
    patch_beam()
    patch_beam()
    assert PipelineOptions.view_as is view_as
    assert userstate.get_dofn_specs is get_dofn_specs


def test_a_pipeline_is_built_without_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    patch_beam()
    with beam.Pipeline(runner="components.node.in_memory_runner.make_runner") as pipeline:
        _ = pipeline | beam.Create([1]) | beam.Map(str)
    assert "IPython" not in sys.modules


def test_a_notebook_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = types.ModuleType("IPython")
    notebook.get_ipython = lambda: "the shell"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    assert beam_patches.is_in_ipython()
    monkeypatch.setattr(notebook, "get_ipython", lambda: None)
    assert not beam_patches.is_in_ipython()
