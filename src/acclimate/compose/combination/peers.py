"""What the field calls its ways of merging, and where each lies on our axes."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.compose.combination.rule import NAMED, Rule

__all__ = ["PEERS", "Peer"]


@dataclass(frozen=True)
class Peer:
    """A way of merging in another library; ``rule`` is None where nothing here is it."""

    library: str
    name: str
    rule: Rule | None
    note: str = ""


_FACTORS = "there A and B are merged apart; here their product is"

PEERS: tuple[Peer, ...] = (
    Peer("mergekit", "linear", NAMED["linear"], "checkpoints, without a base"),
    Peer("mergekit", "slerp", NAMED["slerp"], "checkpoints, without a base"),
    Peer("mergekit", "nuslerp", NAMED["slerp"], "with a base: of what each adds; by rows: not here"),
    Peer("mergekit", "multislerp", NAMED["karcher"], "there one step towards it"),
    Peer("mergekit", "karcher", NAMED["karcher"], "checkpoints, without a base"),
    Peer("mergekit", "task_arithmetic", NAMED["task_arithmetic"]),
    Peer("mergekit", "ties", NAMED["ties"]),
    Peer("mergekit", "dare_linear", NAMED["dare_linear"].using(rescale="l1")),
    Peer("mergekit", "dare_ties", NAMED["dare_ties"].using(rescale="l1")),
    Peer("mergekit", "breadcrumbs", NAMED["breadcrumbs"]),
    Peer("mergekit", "breadcrumbs_ties", NAMED["breadcrumbs_ties"]),
    Peer("mergekit", "della", NAMED["della"]),
    Peer("mergekit", "della_linear", NAMED["della_linear"]),
    Peer("mergekit", "model_stock", NAMED["model_stock"]),
    Peer("mergekit", "sce", NAMED["sce"]),
    Peer("mergekit", "nearswap", NAMED["nearswap"], "the base is the first model, the one given the second"),
    Peer("mergekit", "passthrough", NAMED["task_arithmetic"], "of one model"),
    Peer("mergekit", "arcee_fusion", None, "keeps entries by a divergence of softmaxed weights"),
    Peer("mergekit", "ram, ramplus_tl", None, "rescales entries by how many models change them"),
    Peer("peft", "linear", NAMED["task_arithmetic"], _FACTORS),
    Peer("peft", "cat", NAMED["task_arithmetic"], "the same, exact"),
    Peer("peft", "svd", NAMED["task_arithmetic"], "with rank=; through QR of the factors"),
    Peer("peft", "ties", NAMED["ties"], _FACTORS),
    Peer("peft", "dare_linear", NAMED["dare_linear"], _FACTORS),
    Peer("peft", "dare_ties", NAMED["dare_ties"].using(normalise=True), _FACTORS),
    Peer("peft", "magnitude_prune", NAMED["magnitude_prune"], _FACTORS),
    Peer("peft", "ties_svd", NAMED["ties"], "with rank="),
    Peer("peft", "dare_linear_svd", NAMED["dare_linear"], "with rank="),
    Peer("peft", "dare_ties_svd", NAMED["dare_ties"].using(normalise=True), "with rank="),
    Peer("peft", "magnitude_prune_svd", NAMED["magnitude_prune"], "with rank="),
)
