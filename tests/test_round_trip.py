"""Law 7: saved and loaded, the same bits; what is no adapter of this base is refused, and nothing is lost."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from models import seeded
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from table import METHODS, Row, build, case, distance, outputs, per_face, place, rows_where, same, shake
from torch import nn

from acclimate import LoRA, Scale, adapters, attach, load
from acclimate.engine import FileError, describe

HERE = Path(__file__).parent


@rows_where()
@torch.no_grad()
def test_loaded_is_what_was_saved(row: Row, tmp_path: Path) -> None:
    model, batch = build(row.case), row.case.batch()
    adapter = shake(place(model, row))
    before = outputs(model, batch)
    fresh = build(row.case)
    loaded = load(fresh, adapter.save(tmp_path / "a.safetensors"), name="again")
    assert same(outputs(fresh, batch), before)
    assert loaded.enabled and loaded.name == "again" and (loaded.resident or not loaded.tensors())
    again = shake(place(build(row.case), row)).tensors()
    assert all(torch.equal(t, again[n]) for n, t in loaded.tensors().items()) and len(again) == len(loaded.tensors())
    assert same([p.data for p in loaded.parameters()], [p.data for p in adapter.parameters()])
    assert same(outputs(fresh, batch), before), "attaching what was resident changes no bit"


def test_a_fresh_process_gives_the_same_bits(tmp_path: Path) -> None:
    rows, expected = per_face(), []
    for number, row in enumerate(rows):
        model = build(row.case)
        shake(place(model, row)).save(tmp_path / f"{number}.safetensors")
        with torch.no_grad():
            expected.append(outputs(model, row.case.batch()))
    (tmp_path / "rows.txt").write_text("\n".join(f"{i}|{row.case.name}" for i, row in enumerate(rows)))
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(
        [sys.executable, str(HERE / "fresh.py"), str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for number, row in enumerate(rows):
        found = load_file(tmp_path / f"{number}.out")
        assert same([found[str(i)] for i in range(len(found))], expected[number]), str(row)


@rows_where(lambda row: row.case.name in ("bert", "gpt2", "lstm"))
def test_the_file_holds_the_adapter_alone_each_factor_once(row: Row, tmp_path: Path) -> None:
    adapter = shake(place(build(row.case), row))
    path = adapter.save(tmp_path / "a.safetensors")
    held = load_file(path)
    assert sum(t.numel() for t in held.values()) == sum({id(t): t.numel() for t in adapter.tensors().values()}.values())
    described = describe(path)
    assert described["parts"][0]["method"] == type(row.method).__name__
    assert described["parts"][0]["sites"] == list(adapter.parts[0].keys)


def test_shared_factors_are_saved_once_and_shared_again(tmp_path: Path) -> None:
    """A peer writes them once a layer (fine-tuning.md 2a, 8)."""
    model = build(case("bert"))
    adapter = shake(attach(model, METHODS["Vera"], at="attention", name="a"))
    assert len(load_file(adapter.save(tmp_path / "a.safetensors"))) == 2 + len(adapter.parts[0].keys)
    again = load(build(case("bert")), tmp_path / "a.safetensors")
    assert len(again.parameters()) == len(adapter.parameters()) == 2 + len(adapter.parts[0].keys)
    downs = {id(m.down) for _, m in again.modules()}
    assert len(downs) == 1


def test_state_that_grew_comes_back(tmp_path: Path) -> None:
    model, x = build(case("awkward")), case("awkward").batch()
    adapter = attach(model, METHODS["Remember"], at="mlp.0", name="a")
    for _, module in adapter.modules():
        module.observe(x, torch.ones(5, 8))
    before = outputs(model, x)
    assert distance(before, outputs(build(case("awkward")), x)) > 0.1
    fresh = build(case("awkward"))
    load(fresh, adapter.save(tmp_path / "a.safetensors"))
    assert same(outputs(fresh, x), before)


def _saved(folder: Path, name: str = "bert", **how: Any) -> Path:
    return shake(attach(build(case(name)), LoRA(rank=2), name="a", **how)).save(folder / "a.safetensors")


def test_a_wrong_base_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    torch.manual_seed(1)
    other = case("bert").make()
    with pytest.raises(FileError, match=r"another base: the values of encoder\.layer\.0.*differ by \d+ %") as raised:
        load(other, path)
    assert "base='any'" in str(raised.value) and not adapters(other)
    assert load(other, path, base="any").enabled
    with pytest.raises(FileError, match=r"encoder\.layer\.0.* is not in this model"):
        load(build(case("gpt2")), path)
    from transformers import BertConfig, BertModel

    wide = BertModel(BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2))
    with pytest.raises(FileError, match=r"has shape \(32, 32\) here and \(16, 16\) in the file"):
        load(wide, path)
    assert not adapters(wide) and all(p.requires_grad for p in wide.parameters())


def test_one_site_that_differs_is_enough(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    other = build(case("bert"))
    with torch.no_grad():
        other.encoder.layer[1].attention.self.value.weight.normal_(0, 0.02)
    with pytest.raises(FileError, match=r"encoder\.layer\.1\.attention\.self\.value\.weight"):
        load(other, path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_copy_in_another_precision_is_the_same_base(dtype: torch.dtype, tmp_path: Path) -> None:
    for name, at in (("bert", "all"), ("resnet", "all"), ("lstm", "all"), ("gpt_oss", "all")):
        path = _saved(tmp_path, name, at=at)
        assert load(build(case(name)).to(dtype), path).enabled


def test_buffers_are_left_out_of_the_fingerprint(tmp_path: Path) -> None:
    path = _saved(tmp_path, "resnet", at="all")
    other = build(case("resnet"))
    other.train()(case("resnet").batch())
    assert load(other, path).enabled


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _cut_in_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _tampered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 0xFF
    path.write_bytes(bytes(data))


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": torch.ones(2)}))


def _torch_saved(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path)


def _foreign(path: Path) -> None:
    save_file({"a": torch.ones(2)}, path)


def _text(path: Path) -> None:
    path.write_text("no adapter")


def _header(path: Path, change: Any) -> None:
    with safe_open(str(path), framework="pt") as file:
        described = json.loads(file.metadata()["acclimate"])
    tensors = load_file(path)
    change(described)
    save_file(tensors, path, {"format": "pt", "acclimate": json.dumps(described)})


_HEADERS: dict[str, tuple[Any, str]] = {
    "format": (lambda d: d.update(format=99), "format 99"),
    "no parts": (lambda d: d.pop("parts"), "damaged"),
    "unknown method": (lambda d: d["parts"][0].update(method="Nothing"), "no method is called 'Nothing'"),
    "unknown setting": (lambda d: d["parts"][0].update(colour=3), "no setting 'colour'"),
    "wrong setting": (lambda d: d["parts"][0].update(rank=3), "has shape"),
    "impossible setting": (lambda d: d["parts"][0].update(rank=-3), "rank must be above 0"),
    "setting of another type": (lambda d: d["parts"][0].update(rank="many"), "rank"),
    "sites as text": (lambda d: d["parts"][0].update(sites="all"), "format"),
    "site not text": (lambda d: d["parts"][0].update(sites=[[1]]), "damaged|another base|format"),
    "base as text": (lambda d: d.update(base="x"), "format"),
    "base of nothing": (lambda d: d.update(base={}), "damaged|fingerprint|another base"),
    "shared with nothing": (lambda d: d.update(shared={"x": "y"}), "which it does not hold"),
    "name not text": (lambda d: d.update(name=[1]), "damaged|format|name"),
}


@pytest.mark.parametrize("what", _HEADERS)
def test_a_header_that_lies_is_refused(what: str, tmp_path: Path) -> None:
    change, says = _HEADERS[what]
    path, model = _saved(tmp_path), build(case("bert"))
    _header(path, change)
    with pytest.raises((FileError, ValueError), match=says):
        load(model, path)
    assert not adapters(model) and all(p.requires_grad for p in model.parameters())


_DAMAGE = [_truncated, _cut_in_header, _empty, _tampered, _pickled, _torch_saved, _foreign, _text]


@pytest.mark.parametrize("damage", _DAMAGE, ids=lambda f: f.__name__)
def test_a_damaged_file_is_refused_in_one_sentence(damage: Any, tmp_path: Path) -> None:
    path, model = _saved(tmp_path), build(case("bert"))
    damage(path)
    with pytest.raises(FileError) as raised:
        load(model, path)
    assert "a.safetensors" in str(raised.value) and "\n" not in str(raised.value)
    if damage in (_pickled, _torch_saved):
        assert "pickle" in str(raised.value)
    assert not adapters(model) and all(p.requires_grad for p in model.parameters())


class _Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["BOMB"],)


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "ran"))
    (tmp_path / "a.safetensors").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(FileError):
        load(build(case("bert")), tmp_path / "a.safetensors")
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(build(case("bert")), tmp_path / "none.safetensors")


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_whole(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    path = _saved(tmp_path)
    old = path.read_bytes()
    model = build(case("bert"))
    adapter = shake(attach(model, LoRA(rank=3), name="a"), seed=9)

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, full)
    with pytest.raises(OSError, match=r"No space left on device.*the file that was there is whole") as raised:
        adapter.save(path)
    assert raised.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert load(build(case("bert")), path).enabled
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, where, full)
        with pytest.raises(OSError, match="nothing was written"):
            adapter.save(tmp_path / "new" / "b.safetensors")


def test_several_methods_are_one_file(tmp_path: Path) -> None:
    model, batch = build(case("bert")), case("bert").batch()
    adapter = shake(attach(model, {LoRA(rank=2): "attention", Scale(): "norm", METHODS["Bottleneck"]: "block"}))
    before = outputs(model, batch)
    fresh = build(case("bert"))
    load(fresh, adapter.save(tmp_path / "a.safetensors"))
    assert same(outputs(fresh, batch), before)


def test_loading_leaves_the_random_state_and_the_first_alone(tmp_path: Path) -> None:
    model, batch = build(case("bert")), case("bert").batch()
    path = _saved(tmp_path)
    first = shake(attach(model, Scale(), name="first"))
    before = outputs(model, batch)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    second = load(model, path, name="second")
    assert torch.equal(torch.get_rng_state(), state)
    second.disable()
    assert same(outputs(model, batch), before) and first.enabled


def test_a_model_seeded_anew_is_the_same_base(tmp_path: Path) -> None:
    """The law's own ground: the models of these tests are the same every time."""
    one, two = seeded(case("bert").make), seeded(case("bert").make)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert isinstance(one, nn.Module)
