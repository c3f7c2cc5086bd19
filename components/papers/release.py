"""The release of a version: all of its papers, as the files of its folder `release/`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from components.contracts.evaluation import Evaluation
from components.contracts.names import RELEASE
from components.contracts.papers import (
    BILL_OF_MATERIALS,
    PAGES,
    DataStatement,
    Paper,
    ReleaseIndex,
    VersionCard,
)
from components.papers.bill_of_materials import (
    PRODUCT,
    bill_of_materials,
    installed_packages,
    read_lock,
)
from components.papers.card import make_card
from components.papers.render import render_pages
from components.papers.statement import make_statement

if TYPE_CHECKING:
    from components.papers.facts import VersionFacts

METRICS = f"{RELEASE}/{Evaluation.FILE}"
TITLES = {
    **PAGES,
    METRICS: "What was measured",
    VersionCard.FILE: "Model card, for machines",
    DataStatement.FILE: "Data statement, for machines",
    BILL_OF_MATERIALS: "Software bill of materials",
}


def write_papers(facts: VersionFacts) -> dict[str, bytes]:
    """Returns the content of every paper by its path below the version's folder.

    The same facts give the same papers, so a push that has to take another number writes papers
    that differ in the number alone.
    """
    packages = installed_packages()
    card, statement = make_card(facts), make_statement(facts)

    texts = render_pages(facts, card, statement, packages)
    texts[VersionCard.FILE] = card.to_json()
    if statement is not None:
        texts[DataStatement.FILE] = statement.to_json()
    texts[BILL_OF_MATERIALS] = bill_of_materials(facts.manifest, packages, read_lock())

    papers = {path: text.encode() for path, text in texts.items()} | {METRICS: facts.metrics}
    mastery = packages[PRODUCT].version if PRODUCT in packages else ""
    papers[ReleaseIndex.FILE] = _index(facts, papers, mastery).to_json().encode()
    return papers


def _index(facts: VersionFacts, papers: dict[str, bytes], mastery: str) -> ReleaseIndex:
    return ReleaseIndex(
        name=facts.name,
        version=facts.number,
        pushed_at=facts.manifest.pushed_at or "",
        mastery=mastery,
        papers={
            path: Paper(title=TITLES[path], sha256=hashlib.sha256(content).hexdigest())
            for path, content in sorted(papers.items())
        },
        blanks=facts.blanks,
    )
