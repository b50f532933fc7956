"""What can be put at a site. A method is one file; nothing lists it but this page's imports."""

from acclimate.methods.affine import Affine, Scale
from acclimate.methods.bottleneck import Bottleneck
from acclimate.methods.dora import DoRA
from acclimate.methods.full import Full
from acclimate.methods.head import Head
from acclimate.methods.lame import LAME
from acclimate.methods.lora import LoRA
from acclimate.methods.prompt import GatedPrompt, Prefix
from acclimate.methods.router import TokenRouter
from acclimate.methods.statistics import BatchStatistics, RunningStatistics

__all__ = [
    "LAME", "Affine", "BatchStatistics", "Bottleneck", "DoRA", "Full", "GatedPrompt", "Head", "LoRA", "Prefix",
    "RunningStatistics", "Scale", "TokenRouter",
]  # fmt: skip
