"""Several labelled domains for a model that chooses experts by the domain: losses are shown what each site chose.

`DomainExpertInformation` reads it; the model has `DomainExperts`.
"""

from __future__ import annotations

from typing import ClassVar

from acclimate.data import Batch
from acclimate.loops.loop import Look, LoopError
from acclimate.loops.many_domains import many_domains
from acclimate.losses import Seen
from acclimate.losses.routes import Routed
from acclimate.methods.domain_experts import Routing
from acclimate.methods.given import given

__all__ = ["routed_domains"]


class routed_domains(many_domains):
    """Data are those of `many_domains`, domains numbered in their order.

    >>> routed_domains(epochs=2).epochs
    2
    """

    gives: ClassVar[frozenset[str]] = many_domains.gives | {"routes"}

    def see(self, look: Look, batches: tuple[Batch, ...]) -> Seen:
        routes: list[Routing] = []
        with given(routes=routes):
            seen = super().see(look, batches)
        if not routes:
            raise LoopError(
                "routed_domains shows what experts each domain chose, and nothing in the model chooses: attach DomainExperts, or "
                "use many_domains"
            )
        return Routed(**vars(seen), shares=[each.shares for each in routes])
