"""What one of two ranks does for the FSDP2 law: shard an adapted model and compare it with the whole one."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import torch

__all__ = ["rank"]


def rank(number: int, world: int, port: int, folder: str) -> None:
    """Run every row of `per_face`, sharded after attaching, and write what went wrong, a file a rank."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(number), "WORLD_SIZE": str(world)}
    import torch.distributed as dist
    from table import per_face

    dist.init_process_group("gloo", rank=number, world_size=world)
    lines = []
    for row in per_face(("bert", "llama", "gpt_oss", "vit", "resnet", "encoder")):
        for name, law in (("base", _base), ("forward and backward", _agrees), ("detach", _detaches)):
            try:
                found = law(row)
            except Exception as error:
                found = f"{type(error).__name__}: {error} {traceback.format_exc().splitlines()[-3:]}"
            lines.append(f"{row}|{name}|{found}")
    Path(folder, f"{number}.txt").write_text("\n".join(line.replace("\n", " ") for line in lines))
    dist.destroy_process_group()


def _shard(model: Any) -> Any:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for child in model.children():
        if any(True for _ in child.parameters()) and not isinstance(child, torch.nn.ModuleList):
            fully_shard(child, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _base(row: Any) -> str:
    from table import build, distance, outputs

    whole, model = build(row.case, frozen=True), build(row.case, frozen=True)
    found = distance(outputs(_shard(model), row.case.batch()), outputs(whole, row.case.batch()))
    return "" if found < 1e-5 else f"the base itself is off by {found}"


def _adapted(row: Any) -> tuple[Any, Any]:
    from table import build, place, shake

    model = build(row.case)
    return model, shake(place(model, row))


def _agrees(row: Any) -> str:
    from table import distance, outputs

    (whole, one), (model, two) = _adapted(row), _adapted(row)
    expected = outputs(whole, row.case.batch())
    found = outputs(_shard(model), row.case.batch())
    if distance(found, expected) > 1e-5:
        return f"outputs are off by {distance(found, expected)}"
    if not one.parameters():
        return ""
    for y in (expected, found):
        torch.stack([t.square().sum() for t in y if t.requires_grad]).sum().backward()
    for (name, p), (_, q) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        if (p.grad is None) != (q.grad is None):
            return f"{name} has a gradient on one side only"
        if p.grad is not None and (q.grad.full_tensor() - p.grad).abs().max() > 1e-4 * p.grad.abs().max() + 1e-7:
            return f"the gradient of {name} differs"
    return ""


def _detaches(row: Any) -> str:
    from table import build, distance, outputs

    model, adapter = _adapted(row)
    sharded = _shard(model)
    outputs(sharded, row.case.batch())
    adapter.detach()
    expected = outputs(build(row.case, frozen=True), row.case.batch())
    found = distance(outputs(model, row.case.batch()), expected)
    return "" if found < 1e-5 else f"detached, it is off by {found}"
