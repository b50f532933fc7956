"""Weights for several adapters found by trying, without gradients: an evolution strategy on a few examples.

    min over w   measure(W + sum_i w_i D_i) + sparsity * mean_i |w_i|        w in [-bound, bound]

Huang, Liu, Lin, Pang, Du, Lin, "LoraHub: Efficient Cross-Task Generalization via Dynamic LoRA Composition", 2023. There the sum
is over factors, (sum_i w_i B_i)(sum_i w_i A_i), which mixes each adapter with each; here it is over the updates. Hansen, "The CMA
Evolution Strategy: A Tutorial", 2016 (cmaes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from acclimate.compose.bind import compose
from acclimate.compose.learned import Learned
from acclimate.engine import Adapter, MethodError, only

__all__ = ["search"]


@torch.no_grad()
def search(
    adapters: Sequence[Adapter],
    measure: Callable[[nn.Module], float],
    tries: int = 200,
    sparsity: float = 0.05,
    bound: float = 1.5,
    seed: int = 0,
) -> tuple[float, ...]:
    """The best weights seen in so many calls of ``measure``, which gives what is to be small for a model as it is then.

    Nothing is attached afterwards; give the weights to `combine` (with ``rule="task_arithmetic"``).
    """
    import numpy
    from cmaes import CMA

    if not adapters or tries < 2:
        raise MethodError(
            f"{tries} tries over {len(adapters)} adapters find nothing: give adapters, and at least 2 tries"
        )
    model, names, count = adapters[0].model, [adapter.name for adapter in adapters], len(adapters)
    were = {adapter.name: adapter.enabled for adapter in adapters}
    trial = compose(model, Learned(*names, each="all"), name=f"search over {', '.join(names)}")
    try:
        (scale,) = trial.parameters()
        start = numpy.full(count, 1 / count)
        limits = numpy.array([[-bound, bound]] * count)
        strategy = CMA(mean=start, sigma=bound / 3, bounds=limits, seed=seed, population_size=min(tries, 4 + 2 * count))
        best = (float("inf"), start)
        done = 0
        while done < tries:
            found = []
            for weights in [start] if not done else [strategy.ask() for _ in range(strategy.population_size)]:
                scale.copy_(torch.from_numpy(weights))
                with only(model, trial.name):
                    value = measure(model) + sparsity * float(abs(weights).mean())
                found.append((weights, value))
                best = min(best, (value, weights), key=lambda pair: pair[0])
            if len(found) > 1:
                strategy.tell(found)
            done += len(found)
    finally:
        trial.detach()
        for adapter in adapters:
            (adapter.enable if were[adapter.name] else adapter.disable)()
    return tuple(float(weight) for weight in best[1])
