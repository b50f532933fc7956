"""What PEFT makes of LoRA by one setting more: what the setting says, and which tensors lie beside A and B for it.

alora_invocation_tokens    `InvokedLoRA`
velora_config              `VeLoRA`        lora_velora_embed <-> direction, where it is drawn; a mean is each batch's own
monteclora_config          `MonteCLoRA`    lora_monteclora_sampler: std_prior, expert_weights_prior <-> spread, shares
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from acclimate.methods import InvokedLoRA, LoRA, MonteCLoRA, VeLoRA
from acclimate.store.peft.folder import Given
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.settings import Settings

__all__ = ["VARIANTS", "Variant", "variant_of"]

_EMBED, _SAMPLER = "lora_velora_embed", "lora_monteclora_sampler"
_ALONG = {"batch_average": "mean", "random": "drawn"}


@dataclass(frozen=True)
class Variant:
    """``read`` says which fields of the method a setting means, ``say`` which setting a method is.

    ``beside`` makes the tensors that a module has there in any case, for a rank and a width; ``roles`` are those of them that are
    ours, by our role.
    """

    method: type[LoRA]
    setting: str
    read: Callable[[Settings], dict[str, Any]]
    say: Callable[[Any], Any]
    beside: Callable[[Any, int, int], dict[str, Tensor]] = lambda method, rank, width: {}
    roles: Callable[[Any], Mapping[str, str]] = field(default=lambda method: {})

    def take(self, given: Given, prefix: str, method: LoRA, rank: int, width: int) -> dict[str, Tensor]:
        """Our tensors of a module, by role; theirs that only a step of training leaves behind are taken and say nothing."""
        held = {name: given.take(prefix + name, tuple(t.shape)) for name, t in self.beside(method, rank, width).items()}
        return {role: held[name] for role, name in self.roles(method).items()}

    def give(self, tensors: Mapping[str, Tensor], method: LoRA, rank: int, width: int) -> dict[str, Tensor]:
        """Their tensors of a module, by name."""
        theirs = self.beside(method, rank, width)
        ours = {name: tensors[role] for role, name in self.roles(method).items()}
        if any(theirs[name].shape != tensor.shape for name, tensor in ours.items()):
            raise PeftError(
                f"{method} starts elsewhere than at zero, so PEFT would hold more ranks than are drawn: save it with adapter.save"
            )
        return theirs | ours


def variant_of(settings: Settings) -> Variant | None:
    """The one that a configuration asks for, if any."""
    asked = [each for each in VARIANTS if settings.values.get(each.setting) is not None]
    if len(asked) > 1 or (asked and settings.flag("use_dora")):
        raise PeftError(f"{settings.path} asks for several variants of LoRA at once, which are apart here")
    return asked[0] if asked else None


def _tokens(settings: Settings) -> dict[str, Any]:
    tokens = settings.values["alora_invocation_tokens"]
    if not isinstance(tokens, list) or not all(type(each) is int and each >= 0 for each in tokens):
        raise settings.wrong("alora_invocation_tokens", "a list of tokens")
    return {"tokens": tuple(tokens)}


def _inner(settings: Settings, key: str, **idle: Any) -> Settings:
    """The settings inside of a setting; what is not read of them has to be idle."""
    inner = settings.values[key]
    if not isinstance(inner, dict):
        raise settings.wrong(key, "settings")
    for name, value in idle.items():
        if inner.get(name, value) != value:
            raise PeftError(
                f"{settings.path} says {name}={str(inner[name])[:60]!r} in {key}, which no method here can express"
            )
    return Settings(settings.path, inner)


def _velora(settings: Settings) -> dict[str, Any]:
    inner = _inner(settings, "velora_config")
    along = _ALONG.get(str(inner.values.get("init_type")))
    if along is None:
        raise inner.wrong("init_type", " or ".join(map(repr, _ALONG)))
    return {"groups": inner.whole("num_groups"), "gain": inner.number("scale", 1.0), "along": along}


def _monteclora(settings: Settings) -> dict[str, Any]:
    inner = _inner(settings, "monteclora_config", use_entropy=False)
    return {
        "samples": inner.whole("num_samples"),
        "size": inner.number("sample_scaler", 1e-4),
        "prior": inner.number("dirichlet_prior", 0.1),
        "pull": inner.number("kl_loss_weight", 1e-5),
    }


def _embed(method: Any, rank: int, width: int) -> dict[str, Tensor]:
    length = -(-width // method.groups)
    return {_EMBED: torch.full((length,), length**-0.5)}


def _sampler(method: Any, rank: int, width: int) -> dict[str, Tensor]:
    held = {
        "std_prior": torch.zeros(rank), "expert_weights_prior": torch.zeros(method.samples),
        "gaussian_var_prior": torch.eye(rank), "expert_weights": torch.full((method.samples,), 1 / method.samples),
    }  # fmt: skip
    return {f"{_SAMPLER}.{name}": tensor for name, tensor in held.items()}


VARIANTS = (
    Variant(InvokedLoRA, "alora_invocation_tokens", _tokens, lambda method: list(method.tokens)),
    Variant(
        VeLoRA,
        "velora_config",
        _velora,
        lambda method: {
            "init_type": next(theirs for theirs, ours in _ALONG.items() if ours == method.along),
            "num_groups": method.groups,
            "scale": method.gain,
        },
        _embed,
        lambda method: {"direction": _EMBED} if method.along == "drawn" else {},
    ),
    Variant(
        MonteCLoRA,
        "monteclora_config",
        _monteclora,
        lambda method: {
            "buffer_size": 150, "dirichlet_prior": method.prior, "kl_loss_weight": method.pull, "num_samples": method.samples,
            "sample_scaler": method.size, "use_entropy": False,
        },
        _sampler,
        lambda method: {"spread": f"{_SAMPLER}.std_prior", "shares": f"{_SAMPLER}.expert_weights_prior"},
    ),
)  # fmt: skip
