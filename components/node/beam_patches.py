"""What Beam does again and again while it builds a pipeline, done once or not at all.

Beam has no switch for any of it. A node of TFX applies some hundred transforms. For each, Beam
parses the options of the pipeline several times, and inspects every method of the function six
times for state and timers; that took longer than reading, transforming and writing a small log.
Before the first, Beam imports IPython, if it is installed, to find out whether this is a notebook.

Only the versions of Beam that this was written for are patched. Everything works without it.
"""

from __future__ import annotations

import sys
import types
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import apache_beam as beam
from apache_beam import pipeline as beam_pipeline
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import userstate
from apache_beam.transforms.core import CallableWrapperDoFn
from apache_beam.utils import interactive_utils

WRITTEN_FOR = "2.77."

Specs: TypeAlias = tuple[set[Any], set[Any]]  # of state, of timers

_view_as = PipelineOptions.view_as
_get_dofn_specs = userstate.get_dofn_specs
_is_in_ipython = interactive_utils.is_in_ipython
_specs: WeakKeyDictionary[type, Specs] = WeakKeyDictionary()
_views: WeakKeyDictionary[PipelineOptions, dict[type, PipelineOptions]] = WeakKeyDictionary()


def patch_beam() -> None:
    """Replaces the functions, if Beam's version is known; a second call changes nothing."""
    if beam.__version__.startswith(WRITTEN_FOR):
        PipelineOptions.view_as = view_as
        userstate.get_dofn_specs = get_dofn_specs
        for module in (interactive_utils, beam_pipeline):
            module.is_in_ipython = is_in_ipython


def view_as(options: PipelineOptions, kind: type[PipelineOptions]) -> PipelineOptions:
    """Returns the options as a kind of them, the same object at every call.

    All views share one dictionary of values, so a change is seen in each.
    """
    views = _views.setdefault(options, {})
    view = views.get(kind)
    if view is None or view._all_options is not options._all_options:
        view = views[kind] = _view_as(options, kind)
    return view


def get_dofn_specs(function: beam.DoFn) -> Specs:
    """Returns the state and the timers that the methods of a function name, by its class.

    A function with methods or a signature of its own is inspected each time.

    Raises:
        ValueError: a method names one twice.
    """
    has_methods = any(isinstance(value, types.MethodType) for value in vars(function).values())
    has_signature = hasattr(function, "_inspect_process")
    if has_methods or (has_signature and type(function) is not CallableWrapperDoFn):
        specs: Specs = _get_dofn_specs(function)
        return specs

    kind = type(function)
    if kind not in _specs:
        _specs[kind] = _get_dofn_specs(function)
    return _specs[kind]


def is_in_ipython() -> bool:
    """Returns whether the process belongs to IPython, which then has been imported."""
    return "IPython" in sys.modules and bool(_is_in_ipython())
