"""`mastery fetch`: brings what a platform has recorded since the last time."""

from __future__ import annotations

from pipeline.cli.options import NO_SETTINGS, ConfigOption, SetOption, fetch_new


def fetch(config: ConfigOption, set_: SetOption = NO_SETTINGS) -> None:
    """Fetch what is new in the log from Moodle's database or a record store.

    Files are written into the folder of `data.events`. Nothing is written to the platform. `mastery
    run`, `check-log` and `schema infer` do the same first; this is for a schedule of its own.

    Example:
        mastery fetch --config configs/moodle.yaml
    """
    from components.config import load_config
    from components.errors import MasteryError

    loaded = load_config(config, set_)
    if loaded.data.fetch is None:
        raise MasteryError(
            f"{config}: expected data.fetch, which says where the log is fetched from, found none; "
            "docs/fetch.md shows both kinds."
        )
    fetch_new(loaded)
