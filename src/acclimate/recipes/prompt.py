"""Learned keys and values in front of a model's own, as their papers use them."""

from __future__ import annotations

from collections.abc import Sequence

from acclimate.bench import docstring_task as task
from acclimate.bench.first_step import reached, unchanged
from acclimate.engine import Method
from acclimate.methods import GatedPrompt, Prefix
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import accuracies, beside, for_docstrings, supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["llama_adapter"]


@written(
    papers=["LLaMA-Adapter: Efficient Fine-tuning of Language Models with Zero-init Attention"],
    needs=["train"],
)
def llama_adapter(
    classes: int | None = None,
    length: int = 10,
    at: At = "attention",
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Prompts under a softmax of their own, added through a gate that starts shut (Zhang et al., 2023)."""
    return supervised({GatedPrompt(length=length): at}, classes, epochs, Gradient(lr=lr))


@llama_adapter.claim
def _opens_its_gate(seeds: Sequence[int], on: bool) -> Finding:
    length, epochs = (llama_adapter.defaults[name] for name in ("length", "epochs"))
    # Off: the same prompts in one softmax with the model's own keys, and no gate.
    ungated = supervised({Prefix(length=length): "attention"}, task.classes(), epochs, Gradient())
    made = for_docstrings(llama_adapter) if on else ungated
    alone: dict[Method, At] = {method: at for method, at in made.method.items() if isinstance(method, Prefix)}
    batch, labels = task.longest(8, 16), task.texts("test").labels()[:8]
    identical = all(unchanged(task.encoder(), batch, alone, seed) for seed in seeds)
    first = [reached(task.encoder(), batch, labels, made.method, seed) for seed in seeds]
    gates = min(shares.get("gate", 0.0) for shares in first)
    measured, means = beside(epochs, seeds, llama_adapter=accuracies(made, seeds))
    measured |= {
        "identical_before_training": identical,
        "first_gradient_reaches_share_of_gates": gates,
        "first_gradient_reaches_share_of_keys": max(shares["key"] for shares in first),
    }
    gain = means["llama_adapter"] - max(means["head_only"], means["unadapted"])
    return Finding(
        measured,
        "untaught, bit-identical to the encoder; the first gradient reaches every gate; taught, on average at least 1 point "
        "above a head alone and above the unadapted encoder",
        identical and gates == 1 and gain >= 1,
    )
