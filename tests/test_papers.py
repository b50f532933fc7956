"""A paper works when a committed result says so, and nothing else makes it work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from acclimate.recipes.papers import Paper, PaperError, papers, tally

DANN = "Unsupervised Domain Adaptation by Backpropagation"
OFF = "Monotone deep Boltzmann machines"


@dataclass(frozen=True)
class Named:
    papers: tuple[str, ...]
    hash: str = "now"

    def sources(self) -> str:
        return self.hash


GOOD = {"passed": True, "control_failed": True, "sources": "now"}


def find(title: str, table: dict[str, Any], measured: dict[str, Any]) -> Paper:
    (paper,) = [p for p in papers(table, measured) if p.title == title]
    return paper


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (GOOD, "works"),
        ({**GOOD, "passed": False}, "planned"),
        ({**GOOD, "control_failed": False}, "planned"),
        ({**GOOD, "sources": "before"}, "planned"),
        ({**GOOD, "passed": 1}, "planned"),
        ({"passed": True}, "planned"),
        ({}, "planned"),
        (None, "planned"),
    ],
)
def test_only_a_passing_fresh_result_whose_control_failed_makes_a_paper_work(result: Any, status: str) -> None:
    measured = {} if result is None else {"dann": result}
    table = {"dann": Named((DANN,))}
    paper = find(DANN, table, measured)
    assert (paper.status, paper.recipes) == (status, ("dann",))
    assert sum(p.status == "works" for p in papers(table, measured)) == (status == "works")


def test_one_proven_recipe_of_several_is_enough() -> None:
    table = {"a": Named((DANN,)), "b": Named((DANN,))}
    paper = find(DANN, table, {"a": {**GOOD, "passed": False}, "b": GOOD})
    assert (paper.status, paper.recipes) == ("works", ("a", "b"))


def test_a_result_without_its_recipe_counts_for_nothing() -> None:
    assert all(p.status != "works" for p in papers({"a": Named((DANN,))}, {"gone": GOOD}))


def test_off_stays_off_whatever_was_measured() -> None:
    paper = find(OFF, {"a": Named((OFF,))}, {"a": GOOD})
    assert paper.status == "off"
    assert paper.reason.endswith(".")


def test_a_title_that_the_catalogue_lacks_is_an_error_with_near_misses() -> None:
    with pytest.raises(PaperError, match="Backpropagation") as error:
        papers({"dann": Named((DANN.replace("by", "with"),))}, {})
    assert "'dann'" in str(error.value)


def test_the_catalogue_is_whole() -> None:
    catalogue = papers({}, {})
    assert len(catalogue) == len({p.title for p in catalogue}) == len({p.id for p in catalogue}) == 448
    assert all(p.title == p.title.strip() and p.wing and p.family for p in catalogue)
    assert all(bool(p.reason) == (p.fit == "off") == (p.status == "off") for p in catalogue)
    assert all(p.reason.count(". ") == 0 for p in catalogue)


def test_the_tally_counts_every_paper_once_and_the_largest_wing_first() -> None:
    wings = tally(papers({"dann": Named((DANN,))}, {"dann": GOOD}))
    sizes = [count.total() for count in wings.values()]
    assert sum(sizes) == 448
    assert sizes == sorted(sizes, reverse=True)
    assert wings["shift"]["works"] == 1
