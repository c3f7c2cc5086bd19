"""The command `spans`."""

from __future__ import annotations

from pipeline.cli.options import NO_SETTINGS, ConfigOption, JsonOption, SetOption


def spans(config: ConfigOption, set_: SetOption = NO_SETTINGS, json_: JsonOption = False) -> None:
    """Show which deliveries a run would read, and when they were last written.

    It reads names and times of files only, for programs that start a run when there is new data.

    Example:
        mastery spans --config retrain.yaml --json
    """
    import json

    from components.config import load_config
    from components.event_log.deliveries import find_deliveries

    found = find_deliveries(load_config(config, set_))
    print(json.dumps(found.to_dict()) if json_ else found.describe())
