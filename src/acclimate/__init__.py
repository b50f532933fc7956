"""acclimate adapts any pretrained PyTorch network to where it has to work.

    put this method at these sites, teach it with this loss, in this loop, together with those

>>> import acclimate as acc
>>> acc.LoRA(rank=4)
LoRA(rank=4)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from acclimate import data, engine, loops, losses, methods, players, recipes, rules, sites
    from acclimate.compose import (
        Average,
        Composition,
        Fuse,
        Learned,
        Nearest,
        Parallel,
        Route,
        Rule,
        Split,
        Stack,
        extract,
        fold,
        learn_prototypes,
        take,
    )
    from acclimate.compose.bind import compose
    from acclimate.compose.combination.combine import combine
    from acclimate.data import Batch, Batches, ClassBalanced, InOrder, LengthBuckets, Shuffled, as_batches, read
    from acclimate.engine import Adapter, AdapterModule, Method, adapters, attach, load, only
    from acclimate.engine.rows import rows
    from acclimate.loops import Adaptation, Guard, Run, Score, Stream, predict
    from acclimate.loops.evaluate import evaluate
    from acclimate.loops.fit import fit
    from acclimate.loops.stream import stream
    from acclimate.losses import (
        MMD,
        Consistency,
        CrossEntropy,
        Distillation,
        DomainAdversarial,
        Entropy,
        GeneralisedCrossEntropy,
        InformationMaximisation,
        Loss,
        MeanSquares,
        Penalty,
        PriorEntropy,
        PseudoLabel,
        PullToStart,
    )
    from acclimate.methods import (
        ETHER,
        HRA,
        LAME,
        SORSA,
        AdaLoRA,
        AdapterBias,
        Affine,
        BatchStatistics,
        BeneathNorm,
        Bone,
        BoRA,
        Bottleneck,
        Compacter,
        Descent,
        DiffusedPrompt,
        Diverted,
        DoRA,
        DyLoRA,
        DynamicPrompt,
        EigenLoRA,
        EmergentExperts,
        ETHERPlus,
        FourierFT,
        Full,
        GatedPrompt,
        Gathered,
        GLoRA,
        GranularBottleneck,
        Hadamard,
        Head,
        HiRA,
        Hydra,
        InputScale,
        Kronecker,
        Ladder,
        LinkedBottleneck,
        LoRA,
        LoRAGroup,
        Monarch,
        MultiLoRA,
        OpAmp,
        OrthogonalLoRA,
        PLaplacian,
        Poly,
        Prefix,
        Quantiles,
        RandLoRA,
        RandomBottleneck,
        Rational,
        ReFT,
        Rotation,
        RunningStatistics,
        Scale,
        SegmentLoRA,
        Signed,
        SLTrain,
        Sparse,
        SplitBottleneck,
        SVFit,
        TokenRouter,
        VeRA,
    )
    from acclimate.recipes.recipe import recipe
    from acclimate.recipes.verify import verify
    from acclimate.rules import SPSA, Gradient
    from acclimate.store import (
        read_adapterhub,
        read_any,
        read_kohya,
        read_peft,
        write_adapterhub,
        write_kohya,
        write_peft,
    )

_ROOMS = (
    "sites",
    "engine",
    "methods",
    "losses",
    "rules",
    "data",
    "players",
    "loops",
    "compose",
    "store",
    "recipes",
    "bench",
    "report",
)

__all__ = [
    "ETHER",
    "HRA",
    "LAME",
    "MMD",
    "SORSA",
    "SPSA",
    "AdaLoRA",
    "Adaptation",
    "Adapter",
    "AdapterBias",
    "AdapterModule",
    "Affine",
    "Average",
    "Batch",
    "BatchStatistics",
    "Batches",
    "BeneathNorm",
    "BoRA",
    "Bone",
    "Bottleneck",
    "ClassBalanced",
    "Compacter",
    "Composition",
    "Consistency",
    "CrossEntropy",
    "Descent",
    "DiffusedPrompt",
    "Distillation",
    "Diverted",
    "DoRA",
    "DomainAdversarial",
    "DyLoRA",
    "DynamicPrompt",
    "ETHERPlus",
    "EigenLoRA",
    "EmergentExperts",
    "Entropy",
    "FourierFT",
    "Full",
    "Fuse",
    "GLoRA",
    "GatedPrompt",
    "Gathered",
    "GeneralisedCrossEntropy",
    "Gradient",
    "GranularBottleneck",
    "Guard",
    "Hadamard",
    "Head",
    "HiRA",
    "Hydra",
    "InOrder",
    "InformationMaximisation",
    "InputScale",
    "Kronecker",
    "Ladder",
    "Learned",
    "LengthBuckets",
    "LinkedBottleneck",
    "LoRA",
    "LoRAGroup",
    "Loss",
    "MeanSquares",
    "Method",
    "Monarch",
    "MultiLoRA",
    "Nearest",
    "OpAmp",
    "OrthogonalLoRA",
    "PLaplacian",
    "Parallel",
    "Penalty",
    "Poly",
    "Prefix",
    "PriorEntropy",
    "PseudoLabel",
    "PullToStart",
    "Quantiles",
    "RandLoRA",
    "RandomBottleneck",
    "Rational",
    "ReFT",
    "Rotation",
    "Route",
    "Rule",
    "Run",
    "RunningStatistics",
    "SLTrain",
    "SVFit",
    "Scale",
    "Score",
    "SegmentLoRA",
    "Shuffled",
    "Signed",
    "Sparse",
    "Split",
    "SplitBottleneck",
    "Stack",
    "Stream",
    "TokenRouter",
    "VeRA",
    "adapters",
    "as_batches",
    "attach",
    "combine",
    "compose",
    "data",
    "engine",
    "evaluate",
    "extract",
    "fit",
    "fold",
    "learn_prototypes",
    "load",
    "loops",
    "losses",
    "methods",
    "only",
    "players",
    "predict",
    "read",
    "read_adapterhub",
    "read_any",
    "read_kohya",
    "read_peft",
    "recipe",
    "recipes",
    "rows",
    "rules",
    "sites",
    "stream",
    "take",
    "verify",
    "write_adapterhub",
    "write_kohya",
    "write_peft",
]


def __getattr__(name: str) -> Any:
    """Import on first use: ``import acclimate`` itself imports nothing heavy."""
    if name in _ROOMS:
        return importlib.import_module(f"acclimate.{name}")
    if name in __all__:
        for room in _ROOMS[1:-2]:
            found = getattr(importlib.import_module(f"acclimate.{room}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"acclimate has no {name!r}: it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
