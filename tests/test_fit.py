"""What a run promises: exactly the enabled adapters move, it resumes to the bit, and it says what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from models import ResNet, noise, seeded
from safetensors.torch import load_file
from torch import Tensor, nn

import acclimate as acc
from acclimate.loops import LoopError, domain_pair, finetune, source_free
from acclimate.rules import NonFinite

LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
SCRIPT = Path(__file__).with_name("killed.py")


def images() -> tuple[Tensor, Tensor]:
    return noise(8, 3, 8, 8), LABELS


def taught(**settings: Any) -> tuple[nn.Module, acc.Adapter, acc.Run]:
    model = seeded(ResNet)
    adapter = acc.attach(model, {acc.LoRA(rank=2): "all", acc.RunningStatistics(): "all"}, name="a")
    data = acc.as_batches(images(), size=2)
    run = acc.fit(
        model, data, acc.CrossEntropy(), finetune(epochs=2), acc.Gradient(lr=1e-2), progress=False, **settings
    )
    return model, adapter, run


def test_only_the_enabled_adapters_move_and_the_loss_falls() -> None:
    model = seeded(ResNet)
    base = {n: t.clone() for n, t in model.state_dict().items()}
    random = torch.get_rng_state()
    idle = acc.attach(model, acc.LoRA(rank=2), at="all", name="idle").disable()
    before = {n: t.clone() for n, t in idle.tensors().items()}
    acc.attach(model, acc.LoRA(rank=2), at="all", name="a")
    modes = {n: m.training for n, m in model.named_modules()}
    run = acc.fit(model, images(), acc.CrossEntropy(), finetune(epochs=90), acc.Gradient(lr=3e-2), progress=False)
    assert run.finished and run.history[-1][1] < 0.7 * run.history[0][1]
    assert all(torch.equal(before[n], t) for n, t in idle.tensors().items())
    now = model.state_dict()
    assert all(torch.equal(now[n], t) for n, t in base.items()), "a parameter or buffer of the base changed"
    assert {n: m.training for n, m in model.named_modules()} == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert not model._forward_hooks and not model.fc._forward_pre_hooks


def test_a_seed_decides_everything() -> None:
    first, again, other = taught(seed=1)[2], taught(seed=1)[2], taught(seed=2)[2]
    assert first.history == again.history
    assert first.history != other.history


@pytest.mark.parametrize("step", [1, 3, 5, 7])
def test_stopped_and_resumed_is_never_stopped(step: int, tmp_path: Path) -> None:
    whole = taught()[1].tensors()

    def stop(run: acc.Run) -> None:
        if run.step == step:
            run.stop()

    assert not taught(out=tmp_path, every=1, callbacks=[stop])[2].finished
    _, adapter, run = taught(out=tmp_path, every=1)
    assert run.finished and len(run.history) == 8
    assert all(torch.equal(whole[n], t) for n, t in adapter.tensors().items())


@pytest.mark.parametrize("step", [2, 5])
def test_killed_and_resumed_is_never_killed(step: int, tmp_path: Path) -> None:
    def go(folder: Path, kill: int) -> int:
        command = [sys.executable, str(SCRIPT), str(folder), str(kill)]
        return subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode

    assert go(tmp_path / "killed", step) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "end.safetensors").exists()
    assert go(tmp_path / "killed", 0) == 0
    assert go(tmp_path / "whole", 0) == 0
    whole, killed = (load_file(tmp_path / name / "end.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[n], killed[n]) for n in whole)


def test_ctrl_c_keeps_the_checkpoint(tmp_path: Path) -> None:
    def interrupt(run: acc.Run) -> None:
        if run.step == 3:
            raise KeyboardInterrupt

    whole = taught()[1].tensors()
    with pytest.raises(KeyboardInterrupt):
        taught(out=tmp_path, callbacks=[interrupt])
    adapter = taught(out=tmp_path)[1]
    assert all(torch.equal(whole[n], t) for n, t in adapter.tensors().items())


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    taught(out=tmp_path)
    with pytest.raises(LoopError, match="of another run"):
        taught(out=tmp_path, seed=5)


class Explodes(acc.Loss):
    needs = frozenset({"labels"})

    def __call__(self, seen: Any) -> Tensor:
        fine = nn.functional.cross_entropy(seen.logits, seen.labels)
        return fine * float("nan") if seen.progress > 0.6 else fine


def test_a_loss_that_is_not_a_number_stops_and_loses_nothing(tmp_path: Path) -> None:
    model = seeded(ResNet)
    adapter = acc.attach(model, acc.LoRA(rank=2), at="all", name="a")
    data = acc.as_batches(images(), size=2)
    with pytest.raises(NonFinite, match="step 5"):
        acc.fit(model, data, Explodes(), finetune(epochs=2), out=tmp_path, progress=False)
    assert all(bool(t.isfinite().all()) for t in adapter.tensors().values())
    assert (tmp_path / "checkpoint.safetensors").exists()


MISTAKES: dict[str, tuple[Any, Any, Any, str]] = {
    "labels out of range": (
        (noise(4, 3, 8, 8), torch.tensor([0, 1, 2, 9])),
        acc.CrossEntropy(),
        finetune(),
        "has 5 classes",
    ),
    "no labels": ((noise(4, 3, 8, 8),), acc.CrossEntropy(), finetune(), "labels"),
    "labels for a source-free loop": ((noise(4, 3, 8, 8),), acc.CrossEntropy(), source_free(), "needs 'labels'"),
    "no teacher": (images(), acc.Distillation(), finetune(), "needs 'teacher'"),
    "a pair without its target": (images(), acc.CrossEntropy(), domain_pair(), "source and target"),
    "empty data": ((noise(0, 3, 8, 8), LABELS[:0]), acc.CrossEntropy(), finetune(), "empty|no row|at least one"),
    "a generator": ((pair for pair in [images()]), acc.CrossEntropy(), finetune(), "twice|generator|again"),
    "a missing column": ({"image": noise(4, 3, 8, 8)}, acc.CrossEntropy(), finetune(), "image"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_sentence(mistake: str) -> None:
    data, loss, loop, words = MISTAKES[mistake]
    model = seeded(ResNet)
    acc.attach(model, acc.LoRA(rank=2), at="all")
    takes = {"labels": "topic"} if mistake == "a missing column" else None
    with pytest.raises((ValueError, TypeError, KeyError), match=words) as caught:
        acc.fit(model, data, loss, loop, takes=takes, progress=False)
    assert "\n" not in str(caught.value)


class Deaf(acc.Loss):
    """A term whose gradient is exactly zero, as a softmax over one unit has."""

    def __call__(self, seen: Any) -> Tensor:
        return seen.logits.mean(-1, keepdim=True).softmax(-1).sum()


def test_a_term_that_teaches_nothing_is_refused() -> None:
    model = seeded(ResNet)
    acc.attach(model, acc.LoRA(rank=2), at="all")
    with pytest.raises(LoopError, match="teaches nothing"):
        acc.fit(model, images(), acc.CrossEntropy() + 0.1 * Deaf(), progress=False)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(LoopError, match="attach an adapter"):
        acc.fit(seeded(ResNet), images(), acc.CrossEntropy())


def test_target_labels_are_never_seen() -> None:
    seen: list[Any] = []

    class Looks(acc.Loss):
        def __call__(self, seen_: Any) -> Tensor:
            seen.append(seen_.labels)
            return seen_.logits.square().mean()

    model = seeded(ResNet)
    acc.attach(model, acc.LoRA(rank=2), at="all")
    acc.fit(model, images(), Looks(), source_free(), progress=False)
    assert seen and all(labels is None for labels in seen)


def test_two_precisions_in_one_process() -> None:
    low = taught(precision="bf16")[2]
    high = taught()[2]
    assert high.history == taught()[2].history
    assert low.history != high.history


def test_a_resident_adapter_is_attached_to_be_trained(tmp_path: Path) -> None:
    model, adapter, _ = taught()
    adapter.save(tmp_path / "a.safetensors")
    adapter.detach()
    loaded = acc.load(model, tmp_path / "a.safetensors", name="b")
    assert loaded.resident
    before = {n: t.clone() for n, t in loaded.tensors().items()}
    acc.fit(model, images(), acc.CrossEntropy(), progress=False)
    assert not loaded.resident
    assert any(not torch.equal(before[n], t) for n, t in loaded.tensors().items())


def test_evaluate_and_predict_leave_no_trace() -> None:
    model = seeded(ResNet).train()
    state = {n: t.clone() for n, t in model.state_dict().items()}
    logits = acc.predict(model, images()[0])
    score = acc.evaluate(model, images())
    assert score.accuracy == float((logits.argmax(1) == LABELS).double().mean())
    assert model.training and all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
