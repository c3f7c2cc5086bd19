"""Draws by lot who is held out: a share of each stratum that is exact up to one learner.

The places of a stratum are numbered in the order in which learners come. Blocks of places, as short
as the share allows (ten places for one in ten), hold out exactly their part each, at places that a
keyed hash chooses; learners who come together take their places in an order of another keyed hash.
So every learner has the same chance, nobody can arrange it, and the same learners, strata and seed
give the same arms on any machine.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

_DOMAIN = b"mastery hold-out\0"  # the same seed elsewhere gives other numbers


@dataclass(frozen=True)
class Lot:
    """What decides about one learner.

    Attributes:
        learner_id: who.
        unit_id: the unit in which help would be offered.
        period: begins with the answer that names the learner: its moment in ISO 8601.
        stratum: learners who are alike, such as those of a unit and a range of probabilities.
    """

    learner_id: str
    unit_id: str
    period: str
    stratum: str


def whole_percents(share: float) -> Fraction:
    """Returns a share of whole percents as a fraction.

    >>> whole_percents(0.15)
    Fraction(3, 20)

    Raises:
        ValueError: it has a part of a percent, or is not within 0 and 0.5.
    """
    percents = round(share * 100)
    if abs(percents - share * 100) > 1e-9 or not 0 <= percents <= 50:
        raise ValueError(f"expected whole percents from 0 to 0.5, such as 0.1, found {share}")
    return Fraction(percents, 100)


def held_out_of(places: int, share: Fraction, stratum: str, seed: str) -> int:
    """Returns how many of a stratum's first places are held out.

    It differs from `share * places` by less than one, and by nothing at the end of a block.

    >>> held_out_of(200, Fraction(3, 20), "algebra", "seed")
    30
    """
    block, rest = divmod(places, share.denominator)
    begin = _number(seed, "block", stratum, str(block)) % share.denominator
    return block * share.numerator + (share.numerator * rest + begin) // share.denominator


def draw_lots(
    lots: Sequence[Lot], taken: Mapping[str, int], share: Fraction, seed: str
) -> list[bool]:
    """Returns whether each learner is held out.

    Args:
        lots: learners who come together; their order does not matter.
        taken: how many places of each stratum were taken before; 0 if it is missing.
        share: who is held out.
        seed: the key of the hashes; another one gives another draw.
    """
    held_out = [False] * len(lots)
    strata: dict[str, list[int]] = {}
    for place, lot in enumerate(lots):
        strata.setdefault(lot.stratum, []).append(place)

    for stratum, places in strata.items():
        before = taken.get(stratum, 0)
        count = held_out_of(before + len(places), share, stratum, seed)
        count -= held_out_of(before, share, stratum, seed)
        order = sorted(places, key=lambda place: _rank(lots[place], seed))
        for place in order[:count]:
            held_out[place] = True
    return held_out


def _rank(lot: Lot, seed: str) -> tuple[int, str]:
    number = _number(seed, "learner", lot.learner_id, lot.unit_id, lot.period)
    return number, lot.learner_id


def _number(seed: str, *parts: str) -> int:
    """Returns a number of 64 bits that only whoever has the seed can tell."""
    text = "\0".join(part.replace("\0", "\0\0") for part in parts)
    digest = hmac.new(seed.encode(), _DOMAIN + text.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8])
