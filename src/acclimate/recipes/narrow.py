"""Bottlenecks of other forms: gated finely or coarsely, of Kronecker products, on random features, trained by parts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from acclimate.bench.first_step import unchanged
from acclimate.bench.kernels import at_features, by_kernel, estimates
from acclimate.bench.relearn import network, rearranged
from acclimate.engine import Adapter, Method, attach
from acclimate.methods import Affine, Bottleneck, Compacter, GranularBottleneck, RandomBottleneck, SplitBottleneck
from acclimate.methods.compacter import hypercomplex
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.relearning import below, compared, parameters, unadapted
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["compacter", "snnk", "split_and_merge", "vl_pet"]

BEHIND: At = ("o", "down")
LAYERS: At = ("2", "4", "6")
"""Three layers of the small network, 128 units wide, as calls."""
SIDE = 128


@written(
    papers=["VL-PET: Vision-and-Language Parameter-Efficient Tuning via Granularity Control"],
    needs=["train"],
)
def vl_pet(
    classes: int | None = None,
    width: int = 16,
    gate: str = "each",
    gate_width: int = 8,
    at: At = BEHIND,
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Bottlenecks weighed by a gate for each token and channel, for one of them, or for all (Hu et al., 2023)."""
    method = GranularBottleneck(width=width, gate=gate, gate_width=gate_width)  # type: ignore[arg-type]
    return supervised({method: at}, classes, epochs, Gradient(lr=lr))


@vl_pet.claim
def _as_fine_as_asked(seeds: Sequence[int], on: bool) -> Finding:
    narrow = 4
    asked = {"each": (2 * narrow + 1) * SIDE, "token": SIDE + 1, "channel": SIDE, "whole": 1}
    shapes = {"each": (5, 3, SIDE), "token": (5, 3, 1), "channel": (SIDE,), "whole": (1,)}
    plain: dict[str, Any] = {"method": Bottleneck(width=16), "at": LAYERS, "lr": 1e-2}
    gated = {name: GranularBottleneck(width=16, gate=name, gate_width=narrow) for name in asked}  # type: ignore[arg-type]
    ways = {name: {**plain, "method": method} if on else plain for name, method in gated.items()}
    runs, table = compared({"plain": plain, **ways}, seeds)
    more = {name: parameters(runs[name][0]) - parameters(runs["plain"][0]) for name in asked}
    shaped = on and all(_gate(runs[name][0].adapter).shape == shapes[name] for name in asked)
    varies = on and all(float(_gate(runs[name][0].adapter).std((0, 1)).max()) > 1e-3 for name in ("each", "token"))
    finest = max(_open(runs[name][0].adapter) for name in asked) if on else 1.0
    return Finding(
        {**table, "more_parameters_than_plain": more, "from_plain_with_the_gate_at_one": float(f"{finest:.1e}")},
        "gates of the asked shapes and numbers of parameters; those by token differ between tokens; with a gate of one the plain "
        "bottleneck to 1e-6; each learns: in each seed at most half of the unadapted network's nats",
        more == {name: 3 * count for name, count in asked.items()}
        and shaped
        and varies
        and finest < 1e-6
        and all(run.asked < unadapted()["nats"] / 2 for found in runs.values() for run in found),
        "that a finer gate serves better than none was not seen here, and pictures with text were not tried",
    )


@torch.no_grad()
def _gate(adapter: Adapter) -> Tensor:
    """The gate at the last layer for five rows of three tokens."""
    module = list(adapter.modules())[-1][1]
    assert isinstance(module, GranularBottleneck.Module)
    h = torch.randn(5, 3, SIDE, generator=torch.Generator().manual_seed(0))
    return module.gated(h)


@torch.no_grad()
def _open(adapter: Adapter) -> float:
    """How far a bottleneck whose gate is pushed to one is from a plain one of the same matrices, over the largest output."""
    images = rearranged("test")[0][:64]
    for name, parameter in adapter.named_parameters():
        if name.endswith("/offset"):
            parameter.fill_(1e4)
    plain = network()
    held = dict(adapter.named_parameters())
    for name, parameter in attach(plain, Bottleneck(width=16), at=LAYERS).named_parameters():
        parameter.copy_(held[name])
    y = plain(images)
    return float((adapter.model(images) - y).abs().max() / y.abs().max())


@written(papers=["Compacter: Efficient Low-Rank Hypercomplex Adapter Layers"], needs=["train"])
def compacter(
    classes: int | None = None,
    width: int = 6,
    factors: int = 4,
    at: At = BEHIND,
    norms: bool = True,
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Bottlenecks of Kronecker products whose small factors all layers share, and the norms (Mahabadi et al., 2021)."""
    placed: dict[Method, At] = {Compacter(width=width, factors=factors): at}
    if norms:
        placed[Affine()] = "norm"
    return supervised(placed, classes, epochs, Gradient(lr=lr))


@compacter.claim
def _shares_its_small_factors(seeds: Sequence[int], on: bool) -> Finding:
    n = 4
    method = Compacter(width=4, factors=n) if on else Bottleneck(width=16)
    ways = {"compacter": method, "plain": Bottleneck(width=16)}
    runs, table = compared({m: {"method": ways[m], "at": LAYERS, "lr": 1e-2, "epochs": 40} for m in ways}, seeds)
    counted, plain = (parameters(runs[name][0]) for name in ways)
    # Two matrices of middle + channels numbers each, two biases, and the n matrices that everything shares.
    asked = len(list(runs["plain"][0].adapter.modules())) * 3 * (16 + SIDE) + n**3
    rules = {id(p) for name, p in runs["compacter"][0].adapter.named_parameters() if name.endswith("/rule")}
    error = max(_kronecker_error(seed, n) for seed in seeds)
    same = all(unchanged(network(), rearranged("test")[0], {method: LAYERS}, seed) for seed in seeds)
    table |= {
        "parameters_by_the_formula": asked,
        "share_of_plain": round(counted / plain, 3),
        "tensors_of_small_factors": len(rules),
        "largest_error_of_the_matrix": float(f"{error:.1e}"),
        "the_base_untaught_bitwise": same,
    }
    return Finding(
        table,
        "matrices equal to the explicit sum of Kronecker products to 1e-12; one tensor of small factors for all sites; 3 (m + d) "
        "parameters a site and n^3; untaught the base to the bit; in each seed at most half of the unadapted network's nats",
        error < 1e-12
        and len(rules) == 1
        and counted == asked
        and same
        and all(run.asked < unadapted()["nats"] / 2 for run in runs["compacter"]),
        "that it is on par with training everything was not seen: at equal steps a plain bottleneck, which has nine times the "
        "parameters, loses fewer nats",
    )


def _kronecker_error(seed: int, n: int) -> float:
    drawn = torch.Generator().manual_seed(seed)
    rule, left, right = (torch.randn(n, *s, generator=drawn, dtype=torch.float64) for s in ((n, n), (5,), (7,)))
    wanted = sum(torch.kron(rule[i], torch.outer(left[i], right[i])) for i in range(n))
    return float((hypercomplex(rule, left, right) - wanted).abs().max())


@written(papers=["Scalable Neural Network Kernels"], needs=["train"])
def snnk(
    classes: int | None = None, width: int = 32, at: At = BEHIND, lr: float | None = None, epochs: int = 2
) -> Sentence:
    """A learned matrix on random features of the input, in a bottleneck's place (Sehanobish et al., 2024)."""
    return supervised({RandomBottleneck(width=width, activation="relu"): at}, classes, epochs, Gradient(lr=lr))


@snnk.claim
def _a_kernel_between_inputs_and_parameters(seeds: Sequence[int], on: bool) -> Finding:
    activation = "relu" if on else "tanh"
    counts = (64, 256, 1024)
    found = {many: estimates(many, activation, draws=400) for many in counts}
    falls = [found[b][1] / found[a][1] for a, b in pairwise(counts)]
    apart = max(float((at_features(seed, activation) - by_kernel(seed, activation)).abs().max()) for seed in seeds)
    wide, few = RandomBottleneck(width=32, activation=activation), RandomBottleneck(width=12, activation=activation)
    ways = {"features": wide, "few_features": few, "bottleneck": Bottleneck(width=16, activation="relu")}
    runs, table = compared({n: {"method": m, "at": LAYERS, "lr": 1e-2} for n, m in ways.items()}, seeds)
    learns = all(run.asked < unadapted()["nats"] / 2 for run in (*runs["features"], *runs["few_features"]))
    return Finding(
        {
            **table,
            "bias_in_standard_errors": {many: round(bias, 2) for many, (bias, _) in found.items()},
            "error": {many: float(f"{error:.2g}") for many, (_, error) in found.items()},
            "closed_form_from_kernel_regression": float(f"{apart:.1e}"),
        },
        "features estimate the arc-cosine kernel without bias, to 4 standard errors, with half the error for four times the "
        "features; a matrix on them in closed form is kernel regression to 1e-8; in each seed half of the unadapted nats",
        all(bias < 4 for bias, _ in found.values()) and all(0.4 < f < 0.6 for f in falls) and apart < 1e-8 and learns,
        "that fewer parameters than a bottleneck's serve as well was looked for and not seen: at equal numbers the bottleneck "
        "loses fewer nats on average, and against few features in each seed",
    )


@written(
    papers=["Split & Merge: Unlocking the Potential of Visual Adapters via Sparse Training"],
    needs=["train"],
)
def split_and_merge(
    classes: int | None = None,
    width: int = 16,
    parts: int = 4,
    at: At = BEHIND,
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Bottlenecks trained a part of their units at a time, and used whole (Zhang et al., 2023)."""
    return supervised({SplitBottleneck(width=width, parts=parts): at}, classes, epochs, Gradient(lr=lr))


@split_and_merge.claim
def _a_part_at_a_time(seeds: Sequence[int], on: bool) -> Finding:
    method = SplitBottleneck(width=16, parts=4) if on else Bottleneck(width=16)
    ways = {"split": method, "plain": Bottleneck(width=16)}
    runs, table = compared({n: {"method": m, "at": LAYERS, "lr": 1e-2} for n, m in ways.items()}, seeds)
    shares, reached = zip(*(_reached(method, seed) for seed in seeds), strict=True)
    table |= {"units_with_a_gradient_a_step": shares, "units_reached_in_40_steps": reached}
    return Finding(
        table,
        "each step a quarter of the units gets a gradient, over 40 steps all of them do; as many parameters as a plain bottleneck; "
        "in each seed at most half of the unadapted network's nats",
        all(share == 0.25 for share in shares)
        and all(share == 1 for share in reached)
        and parameters(runs["split"][0]) == parameters(runs["plain"][0])
        and all(run.asked < unadapted()["nats"] / 2 for run in runs["split"]),
        "that it serves better than a bottleneck trained whole was looked for and not seen"
        + ("" if below(runs["split"], runs["plain"]) else ": it loses more nats at equal steps"),
    )


def _reached(method: Method, seed: int) -> tuple[float, float]:
    """The largest share of a layer's units that one step gives a gradient, and the share that 40 steps do."""
    model = network()
    adapter = attach(model, method, at=LAYERS, seed=seed)
    images, labels = (t[:128] for t in rearranged("train"))
    up = [p for name, p in adapter.named_parameters() if name.endswith("/up")]
    optimiser, ever, most = torch.optim.SGD(adapter.parameters(), lr=0.1), [torch.zeros(16, dtype=torch.bool)] * 3, 0.0
    model.train()
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        moved = [p.grad.abs().sum(0) > 0 for p in up if p.grad is not None]
        ever = [a | b for a, b in zip(ever, moved, strict=True)]
        most = max(most, *(float(m.double().mean()) for m in moved))
        optimiser.step()
    return most, min(float(e.double().mean()) for e in ever)
