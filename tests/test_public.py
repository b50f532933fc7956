"""The public names are what the contract says, in whatever order things were imported."""

from __future__ import annotations

from models import Awkward

import acclimate as acc


def test_sites_is_a_function_also_after_everything_is_imported() -> None:
    """``acclimate.sites`` is a package too, and a submodule once imported hides a lazy name."""
    import acclimate.engine
    import acclimate.sites  # noqa: F401

    assert [site.key for site in acc.sites(Awkward())][:2] == ["weight.weight", "weight.bias"]


def test_compose_is_a_function_too() -> None:

    model = Awkward()
    adapter = acc.attach(model, acc.Full(), at="weight.weight", name="a")
    made = acc.compose(model, acc.Average("a"), name="b")
    assert made.name == "b" and not adapter.enabled
