"""Networks beside a frozen model, which keep next to nothing of it for the gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from acclimate.bench import docstring_task as task
from acclimate.bench.experts import accuracy, given, taught
from acclimate.bench.relearn import network
from acclimate.engine import Method, attach
from acclimate.methods import Descent, Full, Gathered, Ladder, LoRA
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["lst", "r2_tuning", "sherl", "unipt"]

LAYERS = ("0", "2", "4", "6")
HEAD: At = "8.weight"
Methods = Mapping[Method, At]
RIVALS: dict[str, Methods] = {
    "linear_probe": {Full(): HEAD},
    "lora": {LoRA(rank=8): tuple(f"{layer}.weight" for layer in (*LAYERS, "8"))},
}


@written(papers=["LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning"], needs=["train"])
def lst(classes: int | None = None, width: int = 24, at: At = "block", epochs: int = 2) -> Sentence:
    """A narrow ladder beside the blocks, and no gradient in them (Sung et al., 2022)."""
    return supervised({Ladder(width=width): at}, classes, epochs, Gradient())


@lst.claim
def _next_to_lora_on_a_fraction_of_its_memory(seeds: Sequence[int], on: bool) -> Finding:
    table = _table("ladder", {Ladder(): LAYERS, Full(): HEAD} if on else RIVALS["linear_probe"], seeds)
    kept = _kept(ladder=({Ladder(): "block"} if on else {LoRA(rank=8): ("q", "v")}))
    return Finding(
        {**_rounded(table), "bytes_kept_for_the_gradient_on_MiniLM": kept},
        "digits moved by a column: at least 5 points above a linear probe and at most 3 below LoRA at every layer, in each seed; "
        "on MiniLM a quarter of the bytes that LoRA keeps for its gradient, or less",
        _ahead(table, "ladder", 5)
        and all(a >= b - 3 for a, b in zip(table["ladder"], table["lora"], strict=True))
        and kept["ladder"] <= kept["lora"] / 4,
        "a rung is a small residual block, not the model's own block pruned, as the paper starts it",
    )


@written(
    papers=["$R^2$-Tuning: Efficient Image-to-Video Transfer Learning for Video Temporal Grounding"], needs=["train"]
)
def r2_tuning(classes: int | None = None, width: int = 24, at: At = "block", epochs: int = 2) -> Sentence:
    """One small block that goes down the frozen model's layers, from the last to the first (Liu et al., 2024)."""
    return supervised({Descent(width=width): at}, classes, epochs, Gradient())


@r2_tuning.claim
def _one_block_for_all_layers(seeds: Sequence[int], on: bool) -> Finding:
    table = _table("descent", {Descent(): LAYERS, Full(): HEAD} if on else RIVALS["linear_probe"], seeds)
    table |= {"last_layer_alone": _accuracies({Descent(): LAYERS[-1:], Full(): HEAD}, seeds)}
    first = tuple(f"encoder.layer.{number}" for number in (4, 5))
    kept = _kept(descent={Descent(): "block"}, of_two_blocks={Descent(): first})
    return Finding(
        {**_rounded(table), "bytes_kept_for_the_gradient_on_MiniLM": kept},
        "digits moved by a column: at least 3 points above a linear probe, in each seed; on MiniLM a quarter of the bytes "
        "that LoRA keeps for its gradient, or less",
        _ahead(table, "descent", 3) and kept["descent"] <= kept["lora"] / 4,
        "nothing of the blocks is kept, but their narrow readings are: for six blocks three times what is kept for two, where the "
        "paper's does not grow. Video and queries are not here; that going down is better than going up was not looked for",
    )


@written(
    papers=["UniPT: Universal Parallel Tuning for Transfer Learning with Efficient Parameter and Memory"],
    needs=["train"],
)
def unipt(classes: int | None = None, width: int = 24, at: At = "block", epochs: int = 2) -> Sentence:
    """All layers read beside the model and weighed by learned confidences (Diao et al., 2024)."""
    return supervised({Gathered(width=width): at}, classes, epochs, Gradient())


@unipt.claim
def _every_layer_is_asked(seeds: Sequence[int], on: bool) -> Finding:
    table = _table("gathered", {Gathered(): LAYERS, Full(): HEAD} if on else RIVALS["linear_probe"], seeds)
    kept = _kept(gathered={Gathered(): "block"})
    return Finding(
        {**_rounded(table), "bytes_kept_for_the_gradient_on_MiniLM": kept},
        "digits moved by a column: at least 2 points above a linear probe, in each seed; on MiniLM a quarter of the bytes "
        "that LoRA keeps for its gradient, or less",
        _ahead(table, "gathered", 2) and kept["gathered"] <= kept["lora"] / 4,
    )


@written(
    papers=["SHERL: Synthesizing High Accuracy and Efficient Memory for Resource-Limited Transfer Learning"],
    needs=["train"],
)
def sherl(classes: int | None = None, width: int = 24, at: At = "*.layer*.[0-3]", epochs: int = 2) -> Sentence:
    """Early layers weighed by how little they repeat one another, for the last layers to go on from (Diao et al., 2024)."""
    return supervised({Gathered(width=width, by="difference"): at}, classes, epochs, Gradient())


@sherl.claim
def _between_side_network_and_lora(seeds: Sequence[int], on: bool) -> Finding:
    early: Methods = {Gathered(by="difference"): LAYERS[:3], Full(): HEAD}
    table = _table("early_then_late", early if on else RIVALS["linear_probe"], seeds)
    table |= {"all_beside": _accuracies({Gathered(): LAYERS, Full(): HEAD}, seeds)}
    blocks = tuple(f"encoder.layer.{number}" for number in range(4))
    kept = _kept(early_then_late={Gathered(by="difference"): blocks}, all_beside={Gathered(): "block"})
    return Finding(
        {**_rounded(table), "bytes_kept_for_the_gradient_on_MiniLM": kept},
        "digits moved by a column: at least 2 points above a linear probe, in each seed, and on average at most a point below a "
        "network beside all layers; on MiniLM it keeps more bytes for the gradient than that, and less than half of LoRA's",
        _ahead(table, "early_then_late", 2)
        and sum(table["early_then_late"]) >= sum(table["all_beside"]) - len(seeds)
        and kept["all_beside"] < kept["early_then_late"] < kept["lora"] / 2,
    )


def _table(name: str, own: Methods, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Accuracies in percent, by seed, beside the unadapted network, a linear probe and LoRA."""
    plain = accuracy(network(), given("shifted", "test"))
    return {
        "unadapted": [plain] * len(seeds),
        **{rival: _accuracies(methods, seeds) for rival, methods in RIVALS.items()},
        name: _accuracies(own, seeds),
    }


def _accuracies(methods: Methods, seeds: Sequence[int]) -> list[float]:
    found = []
    for seed in seeds:
        model = network()
        adapter = attach(model, dict(methods), seed=seed)
        taught(model, given("shifted", "train"), seed, epochs=15, lr=3e-3)
        found.append(accuracy(model, given("shifted", "test"), adapter))
    return found


def _kept(**ways: Methods) -> dict[str, int]:
    """Bytes saved for backward on eight texts of 64 tokens, LoRA's beside them."""
    found: dict[str, int] = {}
    rival: Methods = {LoRA(rank=8): ("q", "v")}
    for name, methods in {"lora": rival, **ways}.items():
        adapter = attach(task.encoder(), methods)
        found[name] = adapter.cost(task.longest(8, 64)).saved_bytes
        adapter.detach()
    return found


def _ahead(table: Mapping[str, Sequence[float]], name: str, points: float) -> bool:
    return all(a >= b + points for a, b in zip(table[name], table["linear_probe"], strict=True))


def _rounded(table: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {name: [round(value, 1) for value in values] for name, values in table.items()}
