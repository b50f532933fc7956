"""Files of kohya's scripts and LyCORIS: each type, as its documented formula builds it, gives that formula's outputs."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import models
import pytest
import torch
from safetensors.torch import load_file, save_file
from table import distance, shake
from torch import Tensor, nn

import acclimate as acc
from acclimate.store import KohyaError

Tensors = dict[str, Tensor]


class Net(nn.Module):
    """Of everything that such files adapt, something; ``body.1.my_proj`` shows that dots become underscores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.point = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Conv2d(8, 12, 1)
        self.body = nn.ModuleList([nn.Linear(12, 8), nn.ModuleDict({"my_proj": nn.Linear(8, 6)})])
        self.groups = nn.Conv2d(8, 8, 3, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.groups(torch.relu(self.norm(self.conv(x))))
        x = self.point(x).mean((2, 3))
        return self.body[1]["my_proj"](torch.tanh(self.body[0](x)))  # type: ignore[index]


def net() -> nn.Module:
    return models.seeded(Net)


def out(model: nn.Module) -> list[Tensor]:
    with torch.no_grad():
        return [model(models.noise(3, 3, 6, 6))]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def moved(changes: Tensors) -> list[Tensor]:
    """What the model puts out with these added to its parameters."""
    model = net()
    with torch.no_grad():
        for name, change in changes.items():
            model.get_parameter(name).add_(change)
    return out(model)


def kron(a: Tensor, b: Tensor) -> Tensor:
    return torch.kron(a.reshape(*a.shape, *[1] * (b.dim() - 2)), b)


UP, DOWN, MID = drawn(8, 2), drawn(2, 3, 3, 3), drawn(2, 4, 3, 3)
LINEAR = {"lora_up.weight": drawn(6, 2), "lora_down.weight": drawn(2, 8), "alpha": torch.tensor(3.0)}
CORE = {"lora_up.weight": UP[..., None, None], "lora_mid.weight": MID, "lora_down.weight": drawn(4, 3, 1, 1)}
HADA = {
    "hada_w1_a": drawn(8, 2),
    "hada_w1_b": drawn(2, 27),
    "hada_w2_a": drawn(8, 2) + 1,
    "hada_w2_b": drawn(2, 27) + 1,
}
TUCKER = {
    "hada_t1": drawn(2, 2, 3, 3), "hada_w1_a": drawn(2, 8), "hada_w1_b": drawn(2, 3), "hada_t2": drawn(2, 2, 3, 3) + 1,
    "hada_w2_a": drawn(2, 8) + 1, "hada_w2_b": drawn(2, 3) + 1,
}  # fmt: skip


def rebuilt(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("ij...,ip,jr->pr...", core, a, b)


def dora() -> Tensor:
    """W' - W with the row norms of W + BA replaced."""
    base = net().get_parameter("body.1.my_proj.weight").detach()
    turned = base + 1.5 * LINEAR["lora_up.weight"] @ LINEAR["lora_down.weight"]
    return MAGNITUDE * turned / turned.norm(dim=1, keepdim=True) - base


MAGNITUDE = drawn(6, 1).abs() + 0.5

TYPES: dict[str, tuple[str, Callable[[], Tensors], Tensors]] = {
    "lora": (
        "body.1.my_proj",
        lambda: {"weight": 1.5 * LINEAR["lora_up.weight"] @ LINEAR["lora_down.weight"]}, LINEAR,
    ),
    "lora without alpha": (
        "body.0", lambda: {"weight": drawn(8, 2) @ drawn(2, 12)},
        {"lora_up.weight": drawn(8, 2), "lora_down.weight": drawn(2, 12)},
    ),
    "locon": (
        "conv", lambda: {"weight": 0.5 * torch.einsum("or,rikl->oikl", UP, DOWN)},
        {"lora_up.weight": UP[..., None, None], "lora_down.weight": DOWN, "alpha": torch.tensor(1.0)},
    ),
    "locon tucker": (
        "conv", lambda: {"weight": torch.einsum("om,mnkl,ni->oikl", UP, MID, CORE["lora_down.weight"][..., 0, 0])}, CORE,
    ),
    "dora": ("body.1.my_proj", lambda: {"weight": dora()}, {**LINEAR, "dora_scale": MAGNITUDE}),
    "loha": (
        "conv",
        lambda: {"weight": 2 * ((HADA["hada_w1_a"] @ HADA["hada_w1_b"]) * (HADA["hada_w2_a"] @ HADA["hada_w2_b"]))
                 .reshape(8, 3, 3, 3)},
        {**HADA, "alpha": torch.tensor(4.0)},
    ),
    "loha tucker": (
        "conv",
        lambda: {"weight": rebuilt(TUCKER["hada_t1"], TUCKER["hada_w1_a"], TUCKER["hada_w1_b"])
                 * rebuilt(TUCKER["hada_t2"], TUCKER["hada_w2_a"], TUCKER["hada_w2_b"])},
        TUCKER,
    ),
    "lokr": (
        "point", lambda: {"weight": kron(drawn(3, 2), drawn(4, 4, 1, 1))},
        {"lokr_w1": drawn(3, 2), "lokr_w2": drawn(4, 4, 1, 1), "alpha": torch.tensor(9.0)},
    ),
    "lokr of a kernel": (
        "conv", lambda: {"weight": kron(drawn(4, 1), drawn(2, 3, 3, 3))},
        {"lokr_w1": drawn(4, 1), "lokr_w2": drawn(2, 3, 3, 3), "alpha": torch.tensor(1.0)},
    ),
    "lokr of factors": (
        "body.0", lambda: {"weight": 2.5 * torch.kron(drawn(2, 1) @ drawn(1, 3), drawn(4, 1) @ drawn(1, 4))},
        {"lokr_w1_a": drawn(2, 1), "lokr_w1_b": drawn(1, 3), "lokr_w2_a": drawn(4, 1), "lokr_w2_b": drawn(1, 4),
         "alpha": torch.tensor(2.5)},
    ),
    "lokr tucker": (
        "conv", lambda: {"weight": kron(drawn(2, 1), rebuilt(drawn(2, 2, 3, 3), drawn(2, 4), drawn(2, 3)))},
        {"lokr_w1": drawn(2, 1), "lokr_t2": drawn(2, 2, 3, 3), "lokr_w2_a": drawn(2, 4), "lokr_w2_b": drawn(2, 3)},
    ),
    "full": (
        "conv", lambda: {"weight": drawn(8, 3, 3, 3), "bias": drawn(8)}, {"diff": drawn(8, 3, 3, 3), "diff_b": drawn(8)},
    ),
    "norm": ("norm", lambda: {"weight": drawn(8), "bias": drawn(8) + 1}, {"w_norm": drawn(8), "b_norm": drawn(8) + 1}),
}  # fmt: skip


def written(path: Path, module: str, tensors: Tensors, prefix: str = "lora_unet") -> Path:
    name = f"{prefix}_{module.replace('.', '_')}"
    save_file({f"{name}.{role}": tensor.contiguous() for role, tensor in tensors.items()}, path)
    return path


@pytest.mark.parametrize("type_", TYPES)
def test_a_file_is_its_formula_and_written_again_is_read_the_same(type_: str, tmp_path: Path) -> None:
    module, changes, tensors = TYPES[type_]
    expected = moved({f"{module}.{name}": change for name, change in changes().items()})
    model = net()
    plain = out(model)
    adapter = acc.read_kohya(model, written(tmp_path / "style.safetensors", module, tensors))
    assert adapter.name == "style" and adapter.resident
    assert distance(plain, expected) > 1e-3, "an adapter that does nothing proves nothing"
    assert distance(out(model), expected) <= 2e-6
    path = acc.write_kohya(adapter, tmp_path / "again.safetensors", prefix="lycoris")
    fresh = net()
    acc.read_kohya(fresh, path)
    assert distance(out(fresh), expected) <= 2e-6
    if "tucker" not in type_ and "factors" not in type_:
        again, first = load_file(path), load_file(tmp_path / "style.safetensors")
        roles = {name.partition(".")[2]: tensor for name, tensor in again.items()}
        for name, tensor in first.items():
            if not name.endswith("alpha"):
                assert torch.allclose(roles[name.partition(".")[2]], tensor, atol=1e-6), name


OURS = {
    "lora": {acc.LoRA(2, alpha=3): ["conv", "body.*"]},
    "stable": {acc.LoRA(4, alpha=3, stable=True): "body.0"},
    "pissa": {acc.LoRA(2, init="pissa"): "body.0"},
    "two at a place": {acc.LoRA(2): "body.0", acc.LoRA(3, alpha=1): "body.0"},
    "dora": {acc.DoRA(2): ["conv", "point"]},
    "hadamard": {acc.Hadamard(2, alpha=3): ["conv", "body.0"]},
    "kronecker": {acc.Kronecker(factor=(4, 3), scale=0.5): ["conv", "body.0"]},
    "kronecker of rank": {acc.Kronecker(factor=4, rank=2, scale=0.5): "body.0"},
    "affine": {acc.Affine(): "norm", acc.Full(): "body.0.bias"},
    "scale": {acc.Scale(): "body.0"},
}


@pytest.mark.parametrize("name", OURS)
def test_ours_there_and_back(name: str, tmp_path: Path) -> None:
    model = net()
    adapter = shake(acc.attach(model, OURS[name]), size=0.4)  # type: ignore[arg-type]
    expected = out(model)
    path = acc.write_kohya(adapter, tmp_path / "ours.safetensors")
    fresh = net()
    acc.read_kohya(fresh, path, name="again")
    assert distance(out(fresh), expected) <= 2e-6


def lora(**changes: Tensor | None) -> Tensors:
    return {role: tensor for role, tensor in {**LINEAR, **changes}.items() if tensor is not None}


TO = "body.1.my_proj"
REFUSED: dict[str, tuple[str, Tensors, str]] = {
    "another model": ("elsewhere", LINEAR, "adapts lora_unet_elsewhere, which is not in this model"),
    "a grouped convolution": ("groups", LINEAR, "a Conv2d: this format adapts linear layers and ungrouped"),
    "a norm": ("norm", LINEAR, "a GroupNorm: this format adapts"),
    "another width": (TO, lora(**{"lora_down.weight": drawn(2, 9)}), "needs 2 x 8: load it into its own base"),
    "another rank": (TO, lora(**{"lora_down.weight": drawn(3, 8)}), "needs 2 x 8"),
    "a half": (TO, lora(**{"lora_down.weight": None}), "lacks lora_unet_body_1_my_proj.lora_down.weight"),
    "whole numbers": (TO, lora(**{"lora_up.weight": drawn(6, 2).long()}), "holds torch.int64"),
    "no number": (TO, lora(alpha=torch.tensor(float("nan"))), "is no number from 0 up"),
    "many numbers": (TO, lora(alpha=torch.ones(2)), "is no number from 0 up"),
    "magnitudes of columns": (TO, lora(dora_scale=drawn(1, 8)), "not those of columns"),
    "more": (TO, lora(other=drawn(2)), "for which the type LoRA has no place here"),
    "loha with magnitudes": ("conv", {**HADA, "dora_scale": drawn(8, 1)}, "for which the type LoHa has no place"),
    "loha of two ranks": ("conv", {**HADA, "hada_w2_a": drawn(8, 3), "hada_w2_b": drawn(3, 27)}, "ranks 2 and 3"),
    "lokr that does not divide": ("point", {"lokr_w1": drawn(5, 2), "lokr_w2": drawn(4, 4)}, "does not divide the 12 x 8"),
    "two types": (TO, {**LINEAR, "diff": drawn(6, 8)}, "has LoRA and full at once"),
    "glora": (TO, {"a1.weight": drawn(8, 2)}, "has GLoRA at .*, and those read here are LoHa, LoKr, LoRA, full, norm"),
    "oft": (TO, {"oft_blocks": drawn(2, 3, 3)}, "has OFT or BOFT at"),
    "ia3": (TO, {"weight": drawn(6), "on_input": torch.tensor(0)}, "has IA3, which its own library computes in two ways"),
    "a type of tomorrow": (TO, {"magic": drawn(6)}, "has a type with 'magic' at"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_changes_nothing(case: str, tmp_path: Path) -> None:
    module, tensors, said = REFUSED[case]
    model = net()
    before = out(model)
    with pytest.raises(KohyaError, match=said):
        acc.read_kohya(model, written(tmp_path / "style.safetensors", module, tensors))
    assert distance(out(model), before) == 0 and not acc.adapters(model)


def test_files_of_strangers_are_refused_in_a_sentence(tmp_path: Path) -> None:
    torch.save(LINEAR, tmp_path / "style.pt")
    with pytest.raises(KohyaError, match="is a pickle, which could run code and is never loaded"):
        acc.read_kohya(net(), tmp_path / "style.pt")
    whole = written(tmp_path / "style.safetensors", TO, LINEAR)
    whole.write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(KohyaError, match="is not a whole safetensors file"):
        acc.read_kohya(net(), whole)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        acc.read_kohya(net(), tmp_path / "none.safetensors")
    for tensors, said in (({}, "holds no tensor"), ({"weight": drawn(2)}, r"are called MODULE\.ROLE")):
        save_file(tensors, tmp_path / "odd.safetensors")
        with pytest.raises(KohyaError, match=said):
            acc.read_kohya(net(), tmp_path / "odd.safetensors")


def test_a_file_for_several_models_wants_a_prefix(tmp_path: Path) -> None:
    both = {
        f"{prefix}_body_1_my_proj.{role}": t.clone()
        for prefix in ("lora_unet", "lora_te1")
        for role, t in LINEAR.items()
    }
    save_file(both, tmp_path / "style.safetensors")
    with pytest.raises(KohyaError, match="is for several models, lora_te1, lora_unet: say which with prefix="):
        acc.read_kohya(net(), tmp_path / "style.safetensors")
    with pytest.raises(KohyaError, match="has nothing under the prefix 'lora_te': it has lora_te1, lora_unet"):
        acc.read_kohya(net(), tmp_path / "style.safetensors", prefix="lora_te")
    assert acc.read_kohya(net(), tmp_path / "style.safetensors", prefix="lora_te1").parts[0].keys == (f"{TO}.weight",)
    save_file(
        {f"mine_{TO.replace('.', '_')}.{role}": t.clone() for role, t in LINEAR.items()}, tmp_path / "own.safetensors"
    )
    with pytest.raises(KohyaError, match="begins with none of lora_unet"):
        acc.read_kohya(net(), tmp_path / "own.safetensors")
    assert acc.read_kohya(net(), tmp_path / "own.safetensors", prefix="mine").name == "own"


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    adapter = acc.attach(net(), acc.BoRA(2), at="body.0")
    with pytest.raises(KohyaError, match=r"has no type that holds BoRA at 'body\.0': make it a LoRA first"):
        acc.write_kohya(adapter, tmp_path / "ours.safetensors")
    named = nn.ModuleDict({"a_b": nn.Linear(3, 3), "a": nn.ModuleDict({"b": nn.Linear(3, 3)})})
    adapter = acc.attach(named, acc.LoRA(2), at="a.b")
    with pytest.raises(KohyaError, match="is another module's name once its dots are underscores"):
        acc.write_kohya(adapter, tmp_path / "ours.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_stranger_changes_is_read_or_refused(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    changes: list[Callable[[Tensor], Tensor]] = [
        torch.flatten, Tensor.long, lambda t: t.unsqueeze(-1), lambda t: t.reshape(-1)[:0], lambda t: torch.zeros(()),
        lambda t: torch.stack([t, t]), lambda t: t * float("nan"), lambda t: t.T if t.dim() == 2 else t,
    ]  # fmt: skip
    for module, _, tensors in TYPES.values():
        held = {role: tensor.clone() for role, tensor in tensors.items()}
        role = draw.choice(sorted(held))
        changed = draw.choice(changes)(held[role]).clone()
        if draw.random() < 0.3:
            role = draw.choice(["alpha", "diff", "hada_t1", "lokr_t2", "lora_mid.weight", "dora_scale", "tomorrow"])
        path = written(tmp_path / "style.safetensors", module, {**held, role: changed})
        model = net()
        try:
            acc.read_kohya(model, path)
            out(model)
        except KohyaError as error:
            assert not acc.adapters(model) and "\n" not in str(error)
