from __future__ import annotations

from components.node.this_machine import free_ports


def test_ports_differ() -> None:
    assert len({*free_ports(5)}) == 5
