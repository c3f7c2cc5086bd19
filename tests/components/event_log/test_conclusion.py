from __future__ import annotations

import pytest

from components.contracts.names import AS_OF, TIME
from components.event_log.conclusion import summarise
from components.event_log.tally import Tally
from components.event_log.timescales import Sighting


def test_only_a_log_with_rows_and_one_clock_is_summarised() -> None:
    with pytest.raises(ValueError, match="a log with rows, found no time"):
        summarise(Tally(), [])
    seen = Sighting(
        count=1, low=0, high=1, whole=True, path="a", row=1, unit="row", column="x", found="0"
    )
    clocks = {TIME: {"timestamps": seen}, AS_OF: {"0": seen}}
    with pytest.raises(ValueError, match="a log with one clock"):
        summarise(Tally(clocks=clocks), [])
