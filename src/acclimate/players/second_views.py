"""What a second head says of other views of the rows, so that a loss can teach by it.

    views_ij = second head(view_j(x_i))        (rows, views, outputs), with the gradient

They are in ``seen.features["views"]``, as those of `Views` are, each view a forward of its own. The head is a `SecondHead` of an
adapter that the model carries. It is held unless it is what is trained.

Sun, Wang, Liu, Miller, Efros, Hardt, "Test-Time Training with Self-Supervision for Generalization under Distribution Shifts", 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from acclimate.engine import adapters
from acclimate.engine.batch import run_batch
from acclimate.losses import Seen
from acclimate.methods.second_head import SecondHead
from acclimate.players.drawing import DrawingState
from acclimate.players.views import Views

__all__ = ["SecondViews"]


class SecondViews(Views):
    """As `Views`, of a second head; with several on the model, the one that was attached last is heard.

    >>> SecondViews(views=4).views
    4
    """

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> SecondViewsState:  # type: ignore[override]
        enabled = [adapter for adapter in adapters(model).values() if adapter.enabled]
        heads = [m for adapter in enabled for _, m in adapter.modules() if isinstance(m.method, SecondHead)]
        if not heads:
            raise ValueError(
                f"{type(self).__name__} asks a second head, and no enabled adapter of this {type(model).__name__} has one: load "
                "one, or teach one where the model comes from (acclimate.loops.taught_beforehand)"
            )
        return SecondViewsState(self, model, heads[-1], named)


class SecondViewsState(DrawingState):
    def __init__(self, player: Views, model: nn.Module, head: nn.Module, named: list[tuple[str, nn.Parameter]]) -> None:
        super().__init__(player.seed)
        trained = {parameter for _, parameter in named}
        self.player, self.model, self.head = player, model, head
        self.held = [parameter for parameter in head.parameters() if parameter not in trained]

    def look(self, seen: Seen) -> None:
        if not torch.is_grad_enabled():
            return
        ways = self.player.augmentations
        with self._heard() as said:
            for number in range(self.player.views):
                run_batch(self.model, ways[number % len(ways)](seen.inputs, self.random))
        seen.features = {**seen.features, "views": torch.stack(said, 1)}

    @contextmanager
    def _heard(self) -> Iterator[list[Tensor]]:
        """What the head says inside; whatever of it is not trained gets no gradient."""
        said: list[Tensor] = []
        asked = [(parameter, parameter.requires_grad) for parameter in self.held]
        handle = self.head.get_submodule("answer").register_forward_hook(lambda _, given, gave: said.append(gave))
        try:
            for parameter in self.held:
                parameter.requires_grad_(False)
            yield said
        finally:
            handle.remove()
            for parameter, before in asked:
                parameter.requires_grad_(before)
