from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.board.links import as_segment, from_segment, learner_link

IDS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1)


@given(IDS)
def test_every_id_survives_the_address(text: str) -> None:
    assert from_segment(as_segment(text)) == text


@given(IDS, IDS)
def test_addresses_are_read_alike_by_servers_and_browsers(learner: str, unit: str) -> None:
    address = learner_link(learner, unit)

    assert re.fullmatch(r"/learners/[A-Za-z0-9_~-]+/units/[A-Za-z0-9_~-]+", address)
    assert urlsplit(address).path == address


@pytest.mark.parametrize("segment", ["~00", "a~00b", "~FF", "~C3"])
def test_what_no_database_keeps_is_nobody(segment: str) -> None:
    assert from_segment(segment) is None


def test_a_tilde_without_digits_is_itself() -> None:
    assert from_segment("~x") == "~x"
