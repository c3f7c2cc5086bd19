"""`mastery notify`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import ConfigOption, SetOption


def notify(
    config: ConfigOption,
    set_: SetOption = [],  # noqa: B006 (Typer copies it)
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message by every way that is configured.")
    ] = False,
) -> None:
    """Try the notifications that runs send when they end; exit code 2 where one cannot be delivered."""
    from components.config import load_config
    from components.errors import ConfigError, MasteryError
    from pipeline.run.notify import Notification, deliver

    loaded = load_config(config, set_)
    if not test:
        raise MasteryError("expected --test; runs send their notifications by themselves.")
    ways = [way for way in ("webhook", "email") if getattr(loaded.notify, way)]
    if not ways:
        raise ConfigError(f"{config}: expected notify.webhook or notify.email, found neither.")
    problems = deliver(loaded.notify, Notification(name=loaded.name, state="test"))
    if problems:
        raise MasteryError("\n".join(problems))
    print(f"Sent a test message by {' and '.join(ways)}.")
