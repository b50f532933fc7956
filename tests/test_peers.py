"""Every name that a peer has is on the page, and what the page says is the same here is there and can be made."""

from __future__ import annotations

import pytest

import acclimate as acc
from acclimate.engine import Method
from acclimate.store.peers import PEERS


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.ours], ids=lambda peer: f"{peer.library}-{peer.name}")
def test_what_is_here_can_be_made(peer: object) -> None:
    made = eval(peer.ours, {name: getattr(acc, name) for name in dir(acc)})  # type: ignore[attr-defined]
    methods = list(made) if isinstance(made, dict) else [made]
    assert all(isinstance(each, Method | acc.Gradient) or each is acc.rows for each in methods)


def test_every_type_of_peft_has_a_row() -> None:
    peft = pytest.importorskip("peft")
    named = {peer.name for peer in PEERS if peer.library == "peft"}
    assert {kind.value for kind in peft.PeftType} <= named


def test_no_name_stands_twice() -> None:
    assert len({(peer.library, peer.name) for peer in PEERS}) == len(PEERS)
