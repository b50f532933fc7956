"""Small networks beside or behind a model's modules, as their papers use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from acclimate.bench import docstring_task as task
from acclimate.bench.second_task import first_is_kept
from acclimate.bench.tokens import by_chance, flops, whole_is_parallel
from acclimate.bench.unified import Composition, apart
from acclimate.engine import Method
from acclimate.methods import Affine, Bottleneck, Head, LoRA, Prefix, TokenRouter
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import accuracies, beside, for_docstrings, full, supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["conditional_adapters", "houlsby", "unified_view"]


@written(papers=["Parameter-Efficient Transfer Learning for NLP"], needs=["train"])
def houlsby(
    classes: int | None = None,
    width: int = 16,
    activation: str = "gelu",
    at: At = ("o", "down"),
    norms: bool = True,
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Bottlenecks behind the attention's and the feed-forward's last projection, and the norms (Houlsby et al., 2019)."""
    placed: dict[Method, At] = {Bottleneck(width=width, activation=activation): at}
    if norms:
        placed[Affine()] = "norm"
    return supervised(placed, classes, epochs, Gradient(lr=lr))


@houlsby.claim
def _one_set_a_task(seeds: Sequence[int], on: bool) -> Finding:
    epochs = houlsby.defaults["epochs"]
    norms = supervised({Affine(): "norm"}, task.classes(), epochs, Gradient())
    made = for_docstrings(houlsby) if on else norms
    found = accuracies(made, seeds)
    measured, means = beside(
        epochs, seeds, houlsby=found, norms_and_head=accuracies(norms, seeds), full=full(epochs, seeds)
    )
    m, d, sites = houlsby.defaults["width"], task.encoder().config.hidden_size, 2 * len(task.encoder().encoder.layer)
    counted = found[0].parameters - accuracies(norms, seeds[:1])[0].parameters
    kept = all(first_is_kept(made.method, seed, own=on) for seed in seeds)
    measured |= {
        "parameters_of_bottlenecks": counted,
        "sites_times_2md_d_m": sites * (2 * m * d + d + m),
        "first_task_bit_identical_after_second": kept,
    }
    gain = means["houlsby"] - max(means["head_only"], means["unadapted"], means["norms_and_head"])
    return Finding(
        measured,
        "mean accuracy above a head alone, norms and a head, and the unadapted encoder, by 1 point each, and at most 3 points "
        "below full; 2md + d + m parameters a bottleneck; the first task's answers keep every bit when a second is taught",
        gain >= 1 and means["houlsby"] >= means["full"] - 3 and counted == sites * (2 * m * d + d + m) and kept,
    )


@written(papers=["Towards a Unified View of Parameter-Efficient Transfer Learning"], needs=["train"])
def unified_view(
    classes: int | None = None,
    length: int = 30,
    width: int = 512,
    scale: float = 4.0,
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Mix-and-match: a short prefix at the attention, a scaled parallel bottleneck at the feed-forward (He et al., 2022)."""
    parallel = Bottleneck(width=width, activation="relu", reads="input", scale=scale)
    return supervised({Prefix(length=length): "attention", parallel: "mlp"}, classes, epochs, Gradient(lr=lr))


@unified_view.claim
def _one_form(seeds: Sequence[int], on: bool) -> Finding:
    batch = task.longest(4, 12)
    mixed = {
        m: at for m, at in for_docstrings(unified_view, length=5, width=8).method.items() if not isinstance(m, Head)
    }
    grid: dict[str, Mapping[Method, At]] = {
        "adapter_sequential_attention_ffn": {Bottleneck(width=8, activation="relu"): ("o", "down")},
        "adapter_parallel_ffn": {Bottleneck(width=8, activation="relu", reads="input"): "mlp"},
        "lora_parallel_attention_scaled": {LoRA(rank=4, alpha=8): ("q", "v")},
        "prefix_parallel_attention_gated": {Prefix(length=5): "attention"},
        "mix_and_match": mixed,
    }
    composition: Composition = "gated" if on else "added"
    found = {
        name: [apart(task.encoder(), batch, method, seed, composition) for seed in seeds]
        for name, method in grid.items()
    }
    largest = {name: max(error for error, _ in errors) for name, errors in found.items()}
    moved = {name: min(change for _, change in errors) for name, errors in found.items()}
    return Finding(
        {
            "largest_difference": {name: float(f"{value:.1e}") for name, value in largest.items()},
            "difference_from_unadapted": {name: round(value, 3) for name, value in moved.items()},
        },
        "in float64 on MiniLM each method equals h + s f(x D) U written out by hand at its site, insertion and composition, "
        "a prefix with the gated one, to 1e-10 of the largest output, while it changes the unadapted encoder by 1e-2 or more",
        max(largest.values()) < 1e-10 and min(moved.values()) > 1e-2,
    )


@written(
    papers=["Conditional Adapters: Parameter-efficient Transfer Learning with Fast Inference"],
    needs=["train"],
)
def conditional_adapters(
    classes: int | None = None,
    keep: float = 0.5,
    width: int = 64,
    at: At = "block",
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Frozen blocks that run on the tokens a router picks, light adapters on all (Lei et al., 2023)."""
    return supervised({TokenRouter(keep=keep, width=width): at}, classes, epochs, Gradient(lr=lr))


@conditional_adapters.claim
def _picks_tokens(seeds: Sequence[int], on: bool) -> Finding:
    made = for_docstrings(conditional_adapters)
    chance = accuracies(made, seeds, by_chance)
    router = accuracies(made, seeds) if on else chance
    measured, means = beside(
        conditional_adapters.defaults["epochs"], seeds, learned_router=router, random_tokens=chance
    )
    equal = max(whole_is_parallel(seed) for seed in seeds)
    share = {f"{keep:g}": flops(keep) for keep in (1.0, 0.5, 0.25, 0.125)}
    falls = all(fewer < more for more, fewer in zip(share.values(), list(share.values())[1:], strict=False))
    measured |= {
        "keep_1_from_parallel_adapter": float(f"{equal:.1e}"),
        "flops_of_base_by_keep": {keep: round(value, 3) for keep, value in share.items()},
    }
    return Finding(
        measured,
        "with every token kept, the parallel adapter to 1e-6; FLOPs fall with the share of tokens kept, at a quarter below half "
        "of the base's; at half of the tokens, mean accuracy at least 2 points above tokens picked at random",
        equal < 1e-6 and falls and share["0.25"] < 0.5 and means["learned_router"] >= means["random_tokens"] + 2,
    )
