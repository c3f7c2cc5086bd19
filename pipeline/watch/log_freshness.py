"""How old the log is: the newest event of its newest delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.contracts.names import TIME
from components.contracts.watch_report import LogFreshness
from components.event_log.clocks import Clock, format_moment
from components.event_log.log_spec import LogSpec
from components.event_log.problems import raise_if_any
from components.event_log.sources import find_files
from components.event_log.spans import choose_spans
from components.event_log.tables import events_table, read_table
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock, extent, judge_clock

if TYPE_CHECKING:
    from components.config import Config


def measure_freshness(config: Config) -> LogFreshness:
    """Returns how old the newest event is.

    Only the events of the newest span are read, chunk by chunk; without spans, all of the log.

    Raises:
        LogError: there are no events, or they cannot be read.
    """
    data, limit = config.data, config.watch.max_log_age_days
    chosen = choose_spans(data.events, "newest")
    span = chosen.names[-1] if chosen.names else None
    files = find_files("events", chosen.fill(data.events), data.event_mapping)

    table = events_table(LogSpec.of(config))
    tallies = [Tally(problems=files.problems)]
    tallies += [tally for file in files.files for _, tally in read_table(file, table)]
    read = merge_tallies(tallies)
    raise_if_any([*read.problems, *judge_clock(read.clocks)])

    clock = common_clock(read.clocks)
    times = None if clock is None else extent(read.clocks.get(TIME, {}), clock)
    if clock is not Clock.TIMESTAMP or times is None:
        note = "its times are numbers, not dates" if times else "it has no events"
        return LogFreshness(newest_span=span, max_age_days=limit, note=note)
    newest = format_moment(times[1], clock)
    return LogFreshness(newest_span=span, newest_event=newest, max_age_days=limit)
