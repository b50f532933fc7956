"""Adapters go to PEFT's folders and come from them: the same outputs there and here, the same tensors, the same keys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import pytest
import torch
from peft import (
    AdaLoraConfig,
    AdamssConfig,
    AdaptionPromptConfig,
    C3AConfig,
    DeftConfig,
    DeloraConfig,
    FourierFTConfig,
    FrodConfig,
    GraloraConfig,
    HiraConfig,
    HRAConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    MissConfig,
    OFTConfig,
    PeftModel,
    PrefixTuningConfig,
    RoadConfig,
    VBLoRAConfig,
    WaveFTConfig,
    get_peft_model,
)
from peft.tuners.lora.config import MontecloraConfig, VeloraConfig
from safetensors.torch import load_file, save_file
from table import case, distance, outputs, shake, snapshot
from torch import Tensor, nn

import acclimate as acc
from acclimate.engine import Method
from acclimate.methods.given import given
from acclimate.store import PeftError

CLOSE = 1e-6
"""Largest difference over the largest output; both sides compute in float32, in another order."""


def gpt2_classifier() -> nn.Module:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config(vocab_size=50, n_positions=64, n_embd=16, n_layer=2, n_head=2, pad_token_id=0, num_labels=3)
    return GPT2ForSequenceClassification(config)


def line() -> nn.Module:
    return nn.Sequential(nn.Conv1d(3, 6, 3, stride=2, padding=1), nn.GELU(), nn.Conv1d(6, 4, 2, padding="same"))


def volume() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 4, 2), nn.GELU(), nn.Conv3d(4, 3, 1, bias=False))


def wide_llama() -> nn.Module:
    """As many key-value heads as query heads: not all keys and values come from a prompt."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    **{name: (case(name).make, case(name).batch) for name in ("bert", "gpt2", "llama", "vit", "resnet", "lstm")},
    "gpt2 classifier": (gpt2_classifier, lambda: {"input_ids": models.ids()}),
    "line": (line, lambda: models.noise(3, 3, 8)),
    "volume": (volume, lambda: models.noise(3, 1, 4, 4, 4)),
    "wide llama": (wide_llama, models.tokens),
}


@dataclass(frozen=True)
class Theirs:
    """An adapter of PEFT's. ``exact`` says that our tensors give its bytes back."""

    name: str
    model: str
    config: Callable[[], Any]
    exact: bool = True
    written: Callable[[dict[str, Any]], dict[str, Any]] = lambda config: config

    def __str__(self) -> str:
        return f"{self.name} {self.model}".replace(" ", "-")


def lora(**settings: Any) -> Callable[[], LoraConfig]:
    return lambda: LoraConfig(**{"r": 4, "lora_alpha": 6, **settings})


FROM_PEFT = [
    Theirs("lora", "bert", lora(target_modules=["query", "value"])),
    Theirs("lora", "llama", lora(target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")),
    Theirs("lora by expression", "llama", lora(target_modules=r".*\.1\..*(q|v)_proj")),
    Theirs(
        "lora by a long expression", "llama",
        lora(target_modules=r"(?:.*?(?:text|model).*?(?:self_attn|mlp).*?(?:k_proj|v_proj|q_proj).*?)|(?:\bhead[\d]{1,})"),
    ),
    Theirs("lora of layers", "llama", lora(target_modules=["q_proj"], layers_to_transform=[1])),
    Theirs("lora of layers named", "bert", lora(target_modules=["key"], layers_to_transform=0, layers_pattern="layer")),
    Theirs("lora but", "bert", lora(target_modules=["query", "value"], exclude_modules=["0.attention.self.query"])),
    Theirs("lora everywhere", "llama", lora(target_modules="all-linear", lora_dropout=0.1)),
    Theirs("rslora", "bert", lora(target_modules=["key"], use_rslora=True)),
    Theirs("gaussian", "bert", lora(target_modules=["key"], init_lora_weights="gaussian")),
    Theirs(
        "patterns", "bert",
        lora(target_modules=["query", "value"], rank_pattern={"0.attention.self.query": 2, r"^encoder.layer.1.*value": 3},
             alpha_pattern={"1.attention.self.value": 5}),
    ),
    Theirs("rslora patterns", "llama", lora(target_modules=["q_proj", "o_proj"], rank_pattern={"o_proj": 2}, use_rslora=True)),
    Theirs("lora fused", "gpt2", lora(target_modules=["c_attn", "c_fc"])),
    Theirs("lora with head", "gpt2 classifier", lora(target_modules=["c_attn"], task_type="SEQ_CLS"), exact=False),
    Theirs("lora with head", "vit", lora(target_modules=["query"], modules_to_save=["classifier"])),
    Theirs("lora with norms", "llama", lora(target_modules=["q_proj"], modules_to_save=["norm"]), exact=False),
    Theirs("lora with module", "bert", lora(target_modules=["query"], modules_to_save=["pooler.dense"]), exact=False),
    Theirs("lora with norm", "resnet", lora(target_modules=["conv1"], modules_to_save=["bn", "fc"]), exact=False),
    Theirs("lora", "resnet", lora(target_modules=["stem", "conv1"])),
    Theirs("lora", "line", lora(target_modules=["0", "2"])),
    Theirs("lora", "volume", lora(target_modules=["0", "2"])),
    Theirs("lora", "lstm", lora(target_modules=["embedding", "out"])),
    Theirs("lora embedding", "llama", lora(target_modules=["embed_tokens"])),
    Theirs("lora and its biases", "bert", lora(target_modules=["query"], bias="lora_only"), exact=False),
    Theirs("lora and biases", "bert", lora(target_modules=["query", "dense"], bias="all"), exact=False),
    Theirs("lora and biases", "gpt2", lora(target_modules=["c_attn"], bias="all"), exact=False),
    Theirs("dora", "bert", lora(target_modules=["query", "value"], use_dora=True)),
    Theirs("dora", "gpt2", lora(target_modules=["c_attn"], use_dora=True)),
    Theirs("dora", "resnet", lora(target_modules=["conv2"], use_dora=True)),
    Theirs("dora", "lstm", lora(target_modules=["embedding"], use_dora=True)),
    Theirs(
        "compressed", "llama",
        lora(target_modules=["q_proj", "down_proj"], velora_config=VeloraConfig(num_groups=5, init_type="random")),
    ),
    Theirs("compressed by the mean", "bert", lora(target_modules=["query"], velora_config=VeloraConfig()), exact=False),
    Theirs("sampled", "llama", lora(target_modules=["q_proj"], monteclora_config=MontecloraConfig(num_samples=3))),
    Theirs("ia3", "llama", lambda: IA3Config()),
    Theirs("ia3", "bert", lambda: IA3Config(target_modules=["key", "value"], feedforward_modules=[])),
    Theirs("ia3", "gpt2", lambda: IA3Config(target_modules=["c_attn"], feedforward_modules=[])),
    Theirs("ia3", "resnet", lambda: IA3Config(target_modules=["conv1"], feedforward_modules=[], modules_to_save=["fc"])),
    Theirs("ia3 inputs", "bert", lambda: IA3Config(target_modules=["key", "output.dense"], feedforward_modules=["output.dense"])),
    Theirs("ia3 inputs", "gpt2", lambda: IA3Config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"])),
    Theirs("ia3 inputs", "resnet", lambda: IA3Config(target_modules=["conv1"], feedforward_modules=["conv1"])),
    Theirs("norms", "bert", lambda: LNTuningConfig(target_modules=["LayerNorm"]), exact=False),
    Theirs("norms", "llama", lambda: LNTuningConfig(), exact=False),
    Theirs("norms", "resnet", lambda: LNTuningConfig(target_modules=["bn1"]), exact=False),
    Theirs("prefix", "llama", lambda: PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"), exact=False),
    Theirs(
        "prefix projected", "llama",
        lambda: PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM", prefix_projection=True), exact=False,
    ),
    Theirs(
        "gated prompt", "llama",
        lambda: AdaptionPromptConfig(adapter_len=3, adapter_layers=1, task_type="CAUSAL_LM"), exact=False,
    ),
    Theirs("loha", "bert", lambda: LoHaConfig(r=3, alpha=4, target_modules=["query", "value"])),
    Theirs("loha", "resnet", lambda: LoHaConfig(r=2, alpha=2, target_modules=["stem", "conv1"], modules_to_save=["fc"])),
    Theirs("loha", "line", lambda: LoHaConfig(r=2, alpha=2, target_modules=["0"])),
    Theirs(
        "loha patterns", "bert",
        lambda: LoHaConfig(r=3, target_modules=["query", "key"], rank_pattern={"key": 2}, alpha_pattern={"0.*query": 5}),
    ),
    Theirs("lokr", "bert", lambda: LoKrConfig(r=2, alpha=4, decompose_factor=4, target_modules=["query", "dense"])),
    Theirs("lokr", "llama", lambda: LoKrConfig(r=2, alpha=3, target_modules=["q_proj", "down_proj", "k_proj"])),
    Theirs(
        "lokr whole", "bert",
        lambda: LoKrConfig(r=16, alpha=64, decompose_factor=2, target_modules=["query", "dense"]), exact=False,
    ),
    Theirs("lokr", "resnet", lambda: LoKrConfig(r=1, alpha=4, target_modules=["stem", "conv1"]), exact=False),
    Theirs("lokr", "line", lambda: LoKrConfig(r=1, alpha=1, target_modules=["2"])),
    Theirs("adalora", "bert", lambda: AdaLoraConfig(init_r=4, lora_alpha=16, total_step=1, target_modules=["query", "dense"])),
    Theirs("adalora", "llama", lambda: AdaLoraConfig(init_r=4, total_step=1, target_modules=["q_proj", "down_proj"])),
    Theirs("adalora", "resnet", lambda: AdaLoraConfig(init_r=2, total_step=1, target_modules=["stem", "conv1"])),
    Theirs("hra", "bert", lambda: HRAConfig(r=4, target_modules=["query", "value"])),
    Theirs("hra", "resnet", lambda: HRAConfig(r=2, target_modules=["stem", "conv1"])),
    Theirs("hira", "bert", lambda: HiraConfig(r=3, target_modules=["query", "value"])),
    Theirs("fourier", "llama", lambda: FourierFTConfig(n_frequency=40, target_modules=["q_proj", "down_proj"])),
    Theirs("waves", "bert", lambda: WaveFTConfig(n_frequency=40, scaling=2.0, target_modules=["query", "dense"])),
    Theirs("circulant", "llama", lambda: C3AConfig(block_size=4, target_modules=["q_proj", "down_proj"])),
    Theirs("turned", "bert", lambda: RoadConfig(group_size=8, target_modules=["query", "value"])),
    Theirs("turned by channel", "bert", lambda: RoadConfig(variant="road_2", group_size=4, target_modules=["value"])),
    Theirs("granular", "llama", lambda: GraloraConfig(r=4, gralora_k=2, alpha=6, target_modules=["q_proj", "down_proj"])),
    Theirs("delora", "bert", lambda: DeloraConfig(r=3, target_modules=["query", "value"])),
    Theirs("deft", "bert", lambda: DeftConfig(r=3, target_modules=["query", "value"])),
    Theirs(
        "rotated", "bert", lambda: OFTConfig(oft_block_size=4, use_cayley_neumann=False, target_modules=["query", "value"])
    ),
    Theirs(
        "banked", "bert",
        lambda: VBLoRAConfig(r=2, num_vectors=9, vector_length=4, target_modules=["query", "value"]),
    ),
    Theirs(
        "in one basis", "bert", lambda: FrodConfig(sparse_rate=0.05, target_modules=["query", "dense"])
    ),
    Theirs("in one basis", "llama", lambda: FrodConfig(target_modules=["q_proj", "down_proj"])),
    Theirs(
        "groups of rows", "bert",
        lambda: AdamssConfig(r=6, num_subspaces=3, subspace_rank=2, target_modules=["query", "dense"]),
    ),
    Theirs("groups of rows", "llama", lambda: AdamssConfig(r=4, random_seed=3, target_modules=["q_proj", "down_proj"])),
    Theirs("deft qr", "llama", lambda: DeftConfig(r=2, decomposition_method="qr", target_modules=["q_proj"])),
    Theirs("bat", "llama", lambda: MissConfig(r=4, init_weights="bat", target_modules=["q_proj", "down_proj"])),
    Theirs("gated prompt", "wide llama", lambda: AdaptionPromptConfig(adapter_len=3, adapter_layers=2), exact=False),
]  # fmt: skip


@torch.no_grad()
def trained(model: nn.Module, size: float) -> nn.Module:
    """As if trained in PEFT: every trainable parameter moved."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter) * size)
    return model


SIZES = {"gpt2": 0.2, "gpt2 classifier": 0.2, "adalora-bert": 0.3}
"""How far parameters move, where less than elsewhere is enough to be seen and keeps rounding small (depth, products of three)."""


def moved(row: Theirs) -> float:
    return SIZES.get(str(row), SIZES.get(row.model, 0.4))


def saved_by_peft(row: Theirs, folder: Path) -> list[Tensor]:
    """Save an adapter from PEFT, and say what the model puts out with it."""
    make, batch = MODELS[row.model]
    there = trained(get_peft_model(models.seeded(make), row.config()), moved(row)).eval()
    if "prefix projected" in row.name:
        there.peft_config["default"].inference_mode = False
    there.save_pretrained(folder)
    with torch.no_grad():
        return logits(outputs(there, batch()))


def logits(found: list[Tensor]) -> list[Tensor]:
    """The first output: a cache that follows is longer where a prefix lies in it."""
    return found[:1]


def here(model: nn.Module, batch: Any) -> list[Tensor]:
    with torch.no_grad():
        return logits(outputs(model, batch))


def tensors_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "adapter_config.json").read_text())


@pytest.mark.parametrize("row", FROM_PEFT, ids=str)
def test_from_peft_and_back(row: Theirs, tmp_path: Path) -> None:
    """Their adapter gives their outputs here; written again it has their bytes and keys, and loads there again."""
    make, batch = MODELS[row.model]
    expected = saved_by_peft(row, tmp_path / "theirs")
    base = models.seeded(make)
    plain = here(base, batch())
    adapter = acc.read_peft(base, tmp_path / "theirs")
    assert adapter.name == "theirs" and adapter.resident
    assert distance(plain, expected) > 100 * CLOSE, "an adapter that does nothing proves nothing"
    assert distance(here(base, batch()), expected) <= CLOSE

    acc.write_peft(adapter, tmp_path / "ours")
    theirs, ours = tensors_of(tmp_path / "theirs"), tensors_of(tmp_path / "ours")
    theirs = {name: tensor for name, tensor in theirs.items() if not name.endswith(".base_layer.weight")}
    assert ours.keys() == theirs.keys()
    assert all(ours[n].shape == theirs[n].shape and ours[n].dtype == theirs[n].dtype for n in ours)
    if row.exact:
        assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    before, after = config_of(tmp_path / "theirs"), config_of(tmp_path / "ours")
    assert after.keys() == before.keys()
    assert {k: after[k] for k in after if k not in _WORDED} == {k: before[k] for k in before if k not in _WORDED}
    assert after["auto_mapping"] or before["task_type"] == after["task_type"]
    adapter.detach()

    again = PeftModel.from_pretrained(models.seeded(make), tmp_path / "ours").eval()
    assert distance(here(again, batch()), expected) <= CLOSE


_WORDED = {
    "target_modules", "modules_to_save", "rank_pattern", "alpha_pattern", "r", "lora_alpha", "alpha", "decompose_factor",
    "task_type", "auto_mapping",
    "exclude_modules", "layers_to_transform", "layers_pattern", "inference_mode", "prefix_projection",
}  # fmt: skip
"""Settings with several wordings of one meaning; that the meaning is the same, the outputs show."""


Where = dict[Method, Any]


@dataclass(frozen=True)
class Ours:
    """An adapter of ours that PEFT can hold."""

    name: str
    model: str
    methods: Callable[[], Where]

    def __str__(self) -> str:
        return f"{self.name} {self.model}".replace(" ", "-")


TO_PEFT = [
    Ours("lora", "bert", lambda: {acc.LoRA(4): "attention"}),
    Ours("lora of one layer", "bert", lambda: {acc.LoRA(4, alpha=7): "encoder.layer.1.output.dense"}),
    Ours("lora of parts", "llama", lambda: {acc.LoRA(4): "q", acc.LoRA(2, alpha=3.5): ["v", "down"]}),
    Ours("lora twice", "llama", lambda: {acc.LoRA(4): "q", acc.LoRA(2, alpha=3): "q"}),
    Ours("stable", "llama", lambda: {acc.LoRA(4, alpha=8, stable=True): "q"}),
    Ours("stable mixed", "llama", lambda: {acc.LoRA(4, alpha=8, stable=True): "q", acc.LoRA(2): "v"}),
    Ours("pissa", "llama", lambda: {acc.LoRA(4, init="pissa"): "q"}),
    Ours("tied", "bert", lambda: {acc.LoRA(4, tied="down"): "attention"}),
    Ours("lora fused", "gpt2", lambda: {acc.LoRA(4): "attention"}),
    Ours("lora of a part", "gpt2", lambda: {acc.LoRA(4): "q", acc.LoRA(2, alpha=3): "v"}),
    Ours("dora of a part", "gpt2", lambda: {acc.DoRA(4): ["q", "v"]}),
    Ours("lora with head", "vit", lambda: {acc.LoRA(2): "attention", acc.Head(5): "head"}),
    Ours("lora with norms", "llama", lambda: {acc.LoRA(2): "attention", acc.Affine(): "norm"}),
    Ours("lora with norms", "bert", lambda: {acc.LoRA(2): "attention", acc.Full(): "embeddings.LayerNorm"}),
    Ours("lora with norms", "resnet", lambda: {acc.LoRA(2): ["*conv1", "stem"], acc.Affine(): "norm"}),
    Ours(
        "lora with a bias", "bert", lambda: {acc.LoRA(2): "q", acc.Full(): "encoder.layer.0.attention.self.query.bias"}
    ),
    Ours("lora with biases", "bert", lambda: {acc.LoRA(2): "q", acc.Full(): "*.bias"}),
    Ours("lora with another's bias", "bert", lambda: {acc.LoRA(2): "q", acc.Full(): "*.key.bias"}),
    Ours("dora", "resnet", lambda: {acc.DoRA(2): "*conv?"}),
    Ours("lora", "lstm", lambda: {acc.LoRA(2): ["embedding", "out"]}),
    Ours("scale", "llama", lambda: {acc.Scale(): ["k", "v", "up"]}),
    Ours("scale of both", "llama", lambda: {acc.Scale(): ["down", "up"]}),
    Ours("scale of parts", "gpt2", lambda: {acc.Scale(): ["k", "v"]}),
    Ours("scale", "resnet", lambda: {acc.Scale(): "*conv?"}),
    Ours("scale of inputs", "bert", lambda: {acc.InputScale(): "down", acc.Scale(): "k"}),
    Ours("scale of inputs", "llama", lambda: {acc.InputScale(): ["down", "q"], acc.Scale(): "up"}),
    Ours("affine", "bert", lambda: {acc.Affine(): "norm"}),
    Ours("affine", "llama", lambda: {acc.Affine(): "norm"}),
    Ours("full norms", "resnet", lambda: {acc.Full(): "norm", acc.Affine(): "bn"}),
    Ours("norms with head", "vit", lambda: {acc.Affine(): "norm", acc.Head(5): "head"}),
    Ours("hadamard", "bert", lambda: {acc.Hadamard(2, alpha=3): "q", acc.Hadamard(3): "v"}),
    Ours("hadamard", "resnet", lambda: {acc.Hadamard(2): ["stem", "*conv1"], acc.Affine(): "norm"}),
    Ours(
        "kronecker",
        "bert",
        lambda: {acc.Kronecker(factor=(4, 4), scale=0.5): "q", acc.Kronecker(factor=4, rank=1): "v"},
    ),
    Ours("kronecker", "llama", lambda: {acc.Kronecker(factor=2): ["q", "v"]}),
    Ours("adalora", "bert", lambda: {acc.AdaLoRA(4, alpha=6): "q", acc.AdaLoRA(2): "v"}),
    Ours("adalora", "resnet", lambda: {acc.AdaLoRA(2): "*conv1"}),
    Ours("reflections", "bert", lambda: {acc.HRA(rank=4): "attention"}),
    Ours("hira", "bert", lambda: {acc.HiRA(rank=3, alpha=6): "attention"}),
    Ours("fourier", "bert", lambda: {acc.FourierFT(waves=40, scale=30.0, seed=3): ["q", "down"]}),
    Ours("waves", "llama", lambda: {acc.WaveFT(waves=40): ["q", "down"]}),
    Ours("circulant", "bert", lambda: {acc.Circulant(size=8): "attention"}),
    Ours("turned", "llama", lambda: {acc.RoAd(group=4, each="channel"): ["q", "down"]}),
    Ours("granular", "bert", lambda: {acc.GraLoRA(rank=8, blocks=4): ["q", "up"]}),
    Ours("delora", "llama", lambda: {acc.DeLoRA(rank=2, strength=3.0): ["q", "down"]}),
    Ours("rotated", "llama", lambda: {acc.Rotation(block=8): ["q", "down"]}),
    Ours("banked", "llama", lambda: {acc.VBLoRA(rank=2, length=8): ["q", "down"]}),
    Ours("deft", "llama", lambda: {acc.DEFT(rank=2, basis="qr"): ["q", "down"]}),
    Ours("bone", "llama", lambda: {acc.Bone(block=4): ["q", "down"]}),
    Ours("prefix", "llama", lambda: {acc.Prefix(3): "attention"}),
    Ours("gated prompt", "llama", lambda: {acc.GatedPrompt(3): "*.1.self_attn"}),
]


def one_gate(adapter: acc.Adapter) -> None:
    """PEFT has one gate a layer."""
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if name.endswith("/gate"):
                parameter.fill_(0.3)


@pytest.mark.parametrize("rests", [False, True], ids=["attached", "resident"])
@pytest.mark.parametrize("row", TO_PEFT, ids=str)
def test_to_peft_and_back(row: Ours, rests: bool, tmp_path: Path) -> None:
    """Our adapter gives our outputs there, and, read again, here; PEFT saves the same tensors and keys from it."""
    make, batch = MODELS[row.model]
    model = models.seeded(make)
    plain = here(model, batch())
    adapter = shake(acc.attach(model, row.methods()), size=moved(row))
    one_gate(adapter)
    expected = here(model, batch())
    assert distance(plain, expected) > 100 * CLOSE, "an adapter that does nothing proves nothing"
    if rests:
        adapter.rest()
    assert acc.write_peft(adapter, tmp_path / "ours") == tmp_path / "ours"
    assert distance(here(model, batch()), expected) == 0 and adapter.resident == rests

    there = PeftModel.from_pretrained(models.seeded(make), tmp_path / "ours").eval()
    assert distance(here(there, batch()), expected) <= CLOSE
    there.save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    ours, theirs = tensors_of(tmp_path / "ours"), tensors_of(tmp_path / "theirs")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    assert config_of(tmp_path / "ours").keys() == config_of(tmp_path / "theirs").keys()
    names = [folder / "adapter_model.safetensors" for folder in (tmp_path / "ours", tmp_path / "theirs")]
    assert names[0].read_bytes() == names[1].read_bytes()

    fresh = models.seeded(make)
    acc.read_peft(fresh, tmp_path / "ours", name="again")
    assert distance(here(fresh, batch()), expected) <= CLOSE


Edit = Callable[[Path], None]


def setting(**changes: Any) -> Edit:
    """Settings of another value."""

    def edit(folder: Path) -> None:
        (folder / "adapter_config.json").write_text(json.dumps({**config_of(folder), **changes}))

    return edit


def tensors(change: Callable[[dict[str, Tensor]], Any]) -> Edit:
    """Tensors changed in place."""

    def edit(folder: Path) -> None:
        held = tensors_of(folder)
        change(held)
        save_file(held, folder / "adapter_model.safetensors", metadata={"format": "pt"})

    return edit


def config_text(text: str) -> Edit:
    return lambda folder: (folder / "adapter_config.json").write_text(text) and None


def pickled(folder: Path) -> None:
    torch.save(tensors_of(folder), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def truncated(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def every(name: str, change: Callable[[Tensor], Tensor]) -> Edit:
    """Every tensor whose name ends so."""
    return tensors(lambda held: held.update({n: change(t).contiguous() for n, t in held.items() if n.endswith(name)}))


def three_layers() -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)
    )


BERT = Theirs("lora", "bert", lora(target_modules=["query", "value"]))
GPT2_PREFIX = Theirs("prefix", "gpt2", lambda: PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"))
PROMPT = Theirs("prompt", "llama", lambda: AdaptionPromptConfig(adapter_len=3, adapter_layers=1))
B = "base_model.model.encoder.layer.0.attention.self.query.lora_B.weight"

REFUSED: dict[str, tuple[Theirs, Edit, str, Callable[[], nn.Module] | None]] = {
    "a pickle": (BERT, pickled, "pickle, adapter_model.bin, which could run code and is never loaded", None),
    "a truncated file": (BERT, truncated, "is not a whole safetensors file", None),
    "no tensors": (BERT, lambda f: (f / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors", None),
    "no settings": (BERT, lambda f: (f / "adapter_config.json").unlink(), "has no adapter_config.json", None),
    "damaged settings": (BERT, config_text('{"r": 4,'), "is no JSON that can be read", None),
    "deep settings": (BERT, config_text("[" * 100_000), "is no JSON that can be read", None),
    "settings of another shape": (BERT, config_text("[1, 2]"), "holds list where settings were expected", None),
    "an unknown type": (BERT, setting(peft_type="BOFT"), "peft_type='BOFT', and those read here are ADALORA,", None),
    "no type": (BERT, setting(peft_type=["LORA"]), "peft_type=", None),
    "another model": (BERT, lambda f: None, "adapts 'encoder.layer.0.*query', which is not in this model", models.llama),
    "a larger model": (BERT, lambda f: None, "means 'encoder.layer.2.*query' of this model as well", three_layers),
    "a wider model": (
        BERT, every("query.lora_A.weight", lambda t: torch.cat([t, t], 1)), r"has shape \(4, 32\), this model needs", None,
    ),
    "another rank": (BERT, setting(r=3), r"has shape \(4, 16\), this model needs \(3, 16\)", None),
    "no rank": (BERT, setting(r=0), "rank must be above 0|needs", None),
    "a rank by name": (BERT, setting(r="four"), "says r='four', and a number from 0 up was expected", None),
    "no number": (BERT, setting(lora_alpha=float("nan")), "lora_alpha='nan'", None),
    "too large a number": (BERT, setting(lora_alpha=10**400), "lora_alpha=", None),
    "a pattern of no numbers": (BERT, setting(alpha_pattern={"query": "x"}), "numbers by module was expected", None),
    "a flag of another kind": (BERT, setting(use_dora="yes"), "use_dora='yes', and true or false was expected", None),
    "names of another kind": (BERT, setting(target_modules=[1]), "names of modules was expected", None),
    "whole numbers": (BERT, every("lora_B.weight", lambda t: t.long()), "holds torch.int64", None),
    "a half": (BERT, tensors(lambda held: held.pop(B)), "lacks base_model.model.*lora_B.weight", None),
    "no magnitude": (BERT, setting(use_dora=True), "lacks base_model.model.*lora_magnitude_vector", None),
    "more tensors": (BERT, tensors(lambda held: held.update({"other": torch.zeros(2)})), "holds other, for which", None),
    "nothing": (BERT, tensors(lambda held: held.clear()), "holds no tensor of an adapter", None),
    "a changed base": (BERT, setting(init_lora_weights="pissa"), "which changed the base's own weights", None),
    "other biases": (BERT, setting(bias="some"), "bias='some', and 'none', 'all' or 'lora_only' was expected", None),
    "a bias of the update that is missing": (BERT, setting(lora_bias=True), "lacks base_model.model.*lora_B.bias", None),
    "two kinds of biases": (BERT, setting(lora_bias=True, bias="all"), "by bias= and by lora_bias= at once", None),
    "a setting of tomorrow": (BERT, setting(use_magic={"a": 1}), "asks for use_magic=", None),
    "a slow pattern": (BERT, setting(rank_pattern={"(a+)+b": 4}), "could take very long to match", None),
    "a pattern of many choices": (BERT, setting(rank_pattern={"(.|.)" * 30 + "x": 4}), "could take very long to match", None),
    "a pattern of many maybes": (BERT, setting(alpha_pattern={".?" * 30 + "x": 4}), "could take very long to match", None),
    "a pattern that looks back": (BERT, setting(rank_pattern={r"(.*)\1\1": 4}), "could take very long to match", None),
    "half a rank": (BERT, setting(r=4.5), "r='4.5', and a whole number was expected", None),
    "a broken pattern": (BERT, setting(target_modules="(query"), "is no regular expression", None),
    "another base's copy": (
        Theirs("", "llama", lora(target_modules=["embed_tokens"])),
        every("base_layer.weight", lambda t: t + 1), "has other values than this model", None,
    ),
    "tied weights": (
        Theirs("", "gpt2", lora(target_modules=["wte"])), lambda f: None,
        "is read by transformer.wte, lm_head, of which PEFT adapts one", None,
    ),
    "other statistics": (
        Theirs("", "resnet", lambda: LNTuningConfig(target_modules=["bn1"])),
        every("running_mean", lambda t: t + 1), "has other values than this model", None,
    ),
    "a prefix and learned positions": (GPT2_PREFIX, lambda f: None, "is a prefix for GPT2Attention", None),
    "a prefix of another length": (
        Theirs("", "llama", lambda: PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")),
        setting(num_virtual_tokens=4), "has shape", None,
    ),
    "a gated prompt at GPT-2": (
        Theirs("", "gpt2", lambda: AdaptionPromptConfig(adapter_len=3, adapter_layers=1)), lambda f: None,
        "at 'transformer.h.1.attn', a GPT2Attention|last layers' self_attn", None,
    ),
    "a gate too wide": (PROMPT, every("gate", lambda t: t * 0 + 1.5), "opens the gate of .* to 1.5", None),
}  # fmt: skip


@pytest.mark.parametrize("row", list(REFUSED), ids=lambda name: name.replace(" ", "-"))
def test_what_is_refused_leaves_the_model_alone(row: str, tmp_path: Path) -> None:
    theirs, edit, sentence, make = REFUSED[row]
    saved_by_peft(theirs, tmp_path)
    edit(tmp_path)
    model = models.seeded(make or MODELS[theirs.model][0])
    before = snapshot(model)
    with pytest.raises(PeftError, match=sentence) as refused:
        acc.read_peft(model, tmp_path)
    assert "\n" not in str(refused.value)
    assert snapshot(model) == before


UNWRITTEN: dict[str, tuple[str | Callable[[], nn.Module], Callable[[], Where], str]] = {
    "no such type": ("bert", lambda: {acc.Bottleneck(2): "mlp"}, "PEFT has no type that holds Bottleneck"),
    "two types": ("bert", lambda: {acc.LoRA(2): "q", acc.Scale(): "v"}, "PEFT has no type that holds LoRA, Scale"),
    "one use_dora": ("bert", lambda: {acc.LoRA(2): "q", acc.DoRA(2): "v"}, "PEFT has one use_dora"),
    "a larger head": ("vit", lambda: {acc.LoRA(2): "q", acc.Head(7): "head"}, "has 7 classes and the model's head 5"),
    "a head with offsets": (
        gpt2_classifier, lambda: {acc.LoRA(2): "q", acc.Head(3): "head"}, "has offsets, and the model's head has no bias",
    ),
    "adapted and saved": ("vit", lambda: {acc.LoRA(2): "head", acc.Head(5): "head"}, "is adapted and changed whole"),
    "tied weights": (models.Tied, lambda: {acc.LoRA(2): "embed"}, "is read by embed, head"),
    "two names": (models.Twice, lambda: {acc.LoRA(2): "first"}, "under several names"),
    "never called": (models.encoder, lambda: {acc.LoRA(2): "o"}, "is never called by its nn.MultiheadAttention"),
    "the model itself": (lambda: nn.Linear(4, 4), lambda: {acc.LoRA(2): "weight"}, "is itself the Linear to adapt"),
    "no module": (models.encoder, lambda: {acc.LoRA(2): "q"}, "of a MultiheadAttention, where"),
    "a dilated convolution": (models.Convolutions, lambda: {acc.LoRA(2): "line.1"}, "of a Conv1d, where"),
    "one layer's prefix": ("llama", lambda: {acc.Prefix(2): "*.1.self_attn"}, "one prefix of one length in every layer"),
    "a lower layer's prompt": ("llama", lambda: {acc.GatedPrompt(2): "*.0.self_attn"}, "at the last layers' self_attn"),
    "a gate a head": ("llama", lambda: {acc.GatedPrompt(2): "*.1.self_attn"}, "have gates of their own"),
}  # fmt: skip


@pytest.mark.parametrize("row", list(UNWRITTEN), ids=lambda name: name.replace(" ", "-"))
def test_what_peft_cannot_hold_is_not_written(row: str, tmp_path: Path) -> None:
    make, methods, sentence = UNWRITTEN[row]
    model = models.seeded(MODELS[make][0] if isinstance(make, str) else make)
    with pytest.raises(PeftError, match=sentence):
        acc.write_peft(shake(acc.attach(model, methods())), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("model", ["bert", "gpt2", "resnet"])
def test_the_bias_of_a_second_factor_is_added_to_the_modules_own(model: str, tmp_path: Path) -> None:
    targets = {"bert": ["query", "dense"], "gpt2": ["c_attn"], "resnet": ["conv1"]}[model]
    row = Theirs("lora with a bias of its own", model, lora(target_modules=targets, lora_bias=True))
    make, batch = MODELS[model]
    if model == "resnet":  # its convolutions have none to add to
        saved_by_peft(row, tmp_path / "theirs")
        with pytest.raises(PeftError, match=r"adapts 'bias' of '.*conv1', a Conv2d that has none to adapt"):
            acc.read_peft(models.seeded(make), tmp_path / "theirs")
        return
    expected, base = saved_by_peft(row, tmp_path / "theirs"), models.seeded(make)
    adapter = acc.read_peft(base, tmp_path / "theirs")
    assert distance(here(base, batch()), expected) <= CLOSE
    acc.write_peft(adapter, tmp_path / "ours")
    assert config_of(tmp_path / "ours")["bias"] == "lora_only"
    again = PeftModel.from_pretrained(models.seeded(make), tmp_path / "ours").eval()
    assert distance(here(again, batch()), expected) <= CLOSE


def test_keys_of_no_prompt_are_not_written(tmp_path: Path) -> None:
    adapter = shake(acc.attach(models.seeded(wide_llama), acc.GatedPrompt(2), at="attention"))
    one_gate(adapter)
    with pytest.raises(PeftError, match="those of no prompt"):
        acc.write_peft(adapter, tmp_path)


def test_a_merged_base_is_not_its_own(tmp_path: Path) -> None:
    model = models.seeded(models.bert)
    adapter = shake(acc.attach(model, acc.Full(), at="norm")).merge()
    assert isinstance(adapter, acc.Adapter)
    with pytest.raises(PeftError, match="unmerge it first"):
        acc.write_peft(adapter, tmp_path)


def test_parts_of_one_projection_keep_what_they_share(tmp_path: Path) -> None:
    """PEFT's one A of c_attn is one parameter here, also when it is trained and saved on."""
    saved_by_peft(Theirs("", "gpt2", lora(target_modules=["c_attn"])), tmp_path)
    model, batch = models.seeded(models.gpt2), models.tokens()
    adapter = acc.read_peft(model, tmp_path, name="shared")
    layers, parts = 2, 3
    assert len(adapter.parameters()) == layers * (1 + parts)
    shake(adapter, size=0.1)
    expected = here(model, batch)
    again = acc.load(models.seeded(models.gpt2), adapter.save(tmp_path / "one.safetensors"))
    assert distance(here(again.model, batch), expected) == 0
    acc.write_peft(again, tmp_path / "ours")
    there = PeftModel.from_pretrained(models.seeded(models.gpt2), tmp_path / "ours").eval()
    assert distance(here(there, batch), expected) <= CLOSE
    assert tensors_of(tmp_path / "ours").keys() == tensors_of(tmp_path).keys()


def test_half_precision_is_read_as_it_is(tmp_path: Path) -> None:
    expected = saved_by_peft(BERT, tmp_path)
    every("weight", lambda t: t.bfloat16())(tmp_path)
    model, batch = models.seeded(models.bert), models.tokens()
    acc.read_peft(model, tmp_path)
    there = PeftModel.from_pretrained(models.seeded(models.bert), tmp_path).eval()
    assert distance(here(model, batch), here(there, batch)) <= CLOSE < distance(here(model, batch), expected)


def test_an_adapter_of_theirs_rests_beside_one_of_ours(tmp_path: Path) -> None:
    expected = saved_by_peft(BERT, tmp_path)
    model, batch = models.seeded(models.bert), models.tokens()
    plain = here(model, batch)
    ours = shake(acc.attach(model, acc.LoRA(2), at="attention", name="ours"))
    theirs = acc.read_peft(model, tmp_path, name="theirs")
    with acc.only(model, "theirs"):
        assert distance(here(model, batch), expected) <= CLOSE
    with pytest.raises(ValueError, match="already has an adapter 'theirs'"):
        acc.read_peft(model, tmp_path, name="theirs")
    theirs.detach()
    ours.detach()
    assert distance(here(model, batch), plain) == 0


def test_a_folder_that_is_written_over_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = shake(acc.attach(models.seeded(models.bert), acc.LoRA(2)))
    acc.write_peft(adapter, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    shake(adapter)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="the file that was there is whole"):
        acc.write_peft(adapter, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


_WITHOUT = """
import sys
sys.modules["peft"] = None  # any import of it raises
import torch, models, acclimate as acc
model = models.seeded(models.ResNet)
adapter = acc.read_peft(model, sys.argv[1])
acc.write_peft(adapter, sys.argv[2])
torch.save(model(models.noise(3, 3, 8, 8)).detach(), sys.argv[2] + "/outputs")
"""


def test_a_basis_that_is_not_in_the_file(tmp_path: Path) -> None:
    config = FrodConfig(save_projection=False, target_modules=["q_proj", "down_proj"])
    expected = saved_by_peft(Theirs("", "llama", lambda: config), tmp_path)
    model = models.seeded(MODELS["llama"][0])
    acc.read_peft(model, tmp_path)
    assert distance(here(model, MODELS["llama"][1]()), expected) <= CLOSE


@pytest.mark.parametrize("config", [FrodConfig, AdamssConfig])
def test_what_was_found_in_another_base_is_refused(config: Any, tmp_path: Path) -> None:
    saved_by_peft(Theirs("", "bert", lambda: config(target_modules=["query"])), tmp_path)
    other = models.bert()
    with pytest.raises(PeftError, match="load it into its own"):
        acc.read_peft(other, tmp_path)


def test_without_peft(tmp_path: Path) -> None:
    theirs_saved = Theirs("", "resnet", lora(target_modules=["stem", "conv1"]))
    expected = saved_by_peft(theirs_saved, tmp_path / "theirs")
    command = [sys.executable, "-c", _WITHOUT, str(tmp_path / "theirs"), str(tmp_path / "ours")]
    subprocess.run(command, check=True, cwd=Path(__file__).parent)
    assert distance([torch.load(tmp_path / "ours" / "outputs")], expected) <= CLOSE
    ours, theirs = tensors_of(tmp_path / "ours"), tensors_of(tmp_path / "theirs")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


SEQUENCE = {
    "causal": ("llama", "CAUSAL_LM", acc.SoftPrompt),
    "learned positions": ("gpt2", "CAUSAL_LM", acc.SoftPrompt),
    "backbone": ("bert", "FEATURE_EXTRACTION", acc.SoftPrompt),
    "mlp": ("llama", "CAUSAL_LM", acc.EncodedPrompt),
    "lstm": ("llama", "CAUSAL_LM", acc.EncodedPrompt),
    "tasks": ("llama", "CAUSAL_LM", acc.MultitaskPrompt),
}


@pytest.mark.parametrize("name", SEQUENCE)
def test_a_prompt_in_the_sequence(name: str, tmp_path: Path) -> None:
    """PEFT's outputs behind its rows are ours, read and written; what learns the rows is not in its file."""
    from peft import MultitaskPromptTuningConfig, PromptEncoderConfig, PromptTuningConfig

    which, kind, method = SEQUENCE[name]
    make, batch = MODELS[which]
    settings: dict[str, Any] = {"task_type": kind, "num_virtual_tokens": 3}
    config = {
        acc.SoftPrompt: lambda: PromptTuningConfig(**settings),
        acc.EncodedPrompt: lambda: PromptEncoderConfig(
            **settings, encoder_hidden_size=8, encoder_reparameterization_type=name.upper()
        ),
        acc.MultitaskPrompt: lambda: MultitaskPromptTuningConfig(**settings, num_tasks=4, num_ranks=2),
    }[method]
    tasks = torch.tensor([2, 0, 3])
    told = {"task_ids": tasks} if name == "tasks" else {}
    there = trained(get_peft_model(models.seeded(make), config()), 0.4).eval()
    there.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        expected = [there(**batch(), **told)[0][:, 3:]]
    base = models.seeded(make)
    adapter = acc.read_peft(base, tmp_path / "theirs")
    with given(task=tasks):
        assert distance(here(base, batch()), expected) <= CLOSE
        adapter.detach()
        assert distance(here(base, batch()), expected) > 100 * CLOSE

    own = {"width": 8, "encoder": name} if method is acc.EncodedPrompt else {}
    own |= {"tasks": 4, "rank": 2} if method is acc.MultitaskPrompt else {}
    adapter = shake(acc.attach(base, method(length=3, **own)), size=0.4)
    acc.write_peft(adapter, tmp_path / "ours")
    before, after = config_of(tmp_path / "theirs"), config_of(tmp_path / "ours")
    assert (
        after.keys() == before.keys() and tensors_of(tmp_path / "ours").keys() == tensors_of(tmp_path / "theirs").keys()
    )
    assert {k: after[k] for k in after} == {k: before[k] for k in before}
    with given(task=tasks), torch.no_grad():
        again = PeftModel.from_pretrained(models.seeded(make), tmp_path / "ours").eval()
        assert distance([again(**batch(), **told)[0][:, 3:]], here(base, batch())) <= CLOSE


@pytest.mark.parametrize("model", ["t5", "vit"])
def test_a_prompt_in_no_sequence_of_peft(model: str, tmp_path: Path) -> None:
    acc.write_peft(acc.attach(models.seeded(case("llama").make), acc.SoftPrompt(length=2)), tmp_path)
    with pytest.raises(PeftError, match=r"in the sequence, and a [A-Za-z0-9]+ has no one sequence"):
        acc.read_peft(models.seeded(case(model).make), tmp_path)
