"""What can be put at a site. A method is one file; this page is written by ``scripts/write_pages.py``."""

from acclimate.methods.absorbed import Absorbed
from acclimate.methods.adalora import AdaLoRA
from acclimate.methods.adapter_bias import AdapterBias
from acclimate.methods.affine import Affine, Scale
from acclimate.methods.batch_prior import BatchPrior
from acclimate.methods.beneath import BeneathNorm
from acclimate.methods.blocked import GraLoRA
from acclimate.methods.bone import Bone
from acclimate.methods.bora import BoRA
from acclimate.methods.bottleneck import Bottleneck
from acclimate.methods.bounded import DeLoRA
from acclimate.methods.canonical import Canonical
from acclimate.methods.chance_statistics import ChanceStatistics
from acclimate.methods.circulant import Circulant
from acclimate.methods.compacter import Compacter
from acclimate.methods.complement import OSF
from acclimate.methods.compressed import VeLoRA
from acclimate.methods.decomposed_prompt import DecomposedPrompt
from acclimate.methods.deflated import DEFT, PaRa
from acclimate.methods.diffused_prompt import DiffusedPrompt
from acclimate.methods.diverted import Diverted
from acclimate.methods.domain_attention import DomainAttention
from acclimate.methods.domain_experts import DomainExperts
from acclimate.methods.domain_gates import DomainGates
from acclimate.methods.domain_statistics import DomainStatistics
from acclimate.methods.dora import DoRA
from acclimate.methods.dropped_input import DroppedInput
from acclimate.methods.dylora import DyLoRA
from acclimate.methods.dynamic_prompt import DynamicPrompt
from acclimate.methods.eigen import EigenLoRA
from acclimate.methods.emergent import EmergentExperts
from acclimate.methods.encoded_prompt import EncodedPrompt
from acclimate.methods.error_memory import ErrorMemory
from acclimate.methods.feature_cache import FeatureCache
from acclimate.methods.feature_map import FeatureMap
from acclimate.methods.followed import FollowedStatistics
from acclimate.methods.fourier import FourierFT
from acclimate.methods.full import Full
from acclimate.methods.gathered import Gathered
from acclimate.methods.gathered_statistics import GatheredStatistics
from acclimate.methods.glora import GLoRA
from acclimate.methods.granular import GranularBottleneck
from acclimate.methods.hadamard import Hadamard
from acclimate.methods.head import Head
from acclimate.methods.head_core import HeadCore
from acclimate.methods.hira import HiRA
from acclimate.methods.hydra import Hydra
from acclimate.methods.input_bridge import InputBridge
from acclimate.methods.input_map import InputMap
from acclimate.methods.input_prompt import InputPrompt
from acclimate.methods.input_scale import InputScale
from acclimate.methods.instance_statistics import InstanceStatistics
from acclimate.methods.invertible import Invertible
from acclimate.methods.invoked import InvokedLoRA
from acclimate.methods.joint_basis import FRoD
from acclimate.methods.kasa import KaSA
from acclimate.methods.kept import Kept
from acclimate.methods.kept_moments import KeptMoments
from acclimate.methods.kronecker import Kronecker
from acclimate.methods.label_prior import LabelPrior
from acclimate.methods.ladder import Descent, Ladder
from acclimate.methods.lame import LAME
from acclimate.methods.lily import Lily
from acclimate.methods.linked import LinkedBottleneck
from acclimate.methods.lora import LoRA
from acclimate.methods.lora_group import LoRAGroup
from acclimate.methods.maps import MapHead, Maps
from acclimate.methods.meta_network import MetaNetwork
from acclimate.methods.mixed_styles import MixedStyles
from acclimate.methods.monarch import Monarch
from acclimate.methods.motion import Motion
from acclimate.methods.multi_lora import MultiLoRA
from acclimate.methods.multitask_prompt import MultitaskPrompt
from acclimate.methods.nearby_prompt import NearbyPrompt
from acclimate.methods.neighbours import Neighbours
from acclimate.methods.one_vector import UniLoRA
from acclimate.methods.opamp import OpAmp
from acclimate.methods.orthogonal import OrthogonalLoRA
from acclimate.methods.p_laplacian import PLaplacian
from acclimate.methods.poly import Poly
from acclimate.methods.principal import PSOFT
from acclimate.methods.projected import Edited, Projected
from acclimate.methods.prompt import GatedPrompt, Prefix
from acclimate.methods.pvera import PVeRA
from acclimate.methods.pyramid import Pyramid
from acclimate.methods.quantiles import Quantiles
from acclimate.methods.query_tokens import QueryTokens
from acclimate.methods.randlora import RandLoRA
from acclimate.methods.random_bottleneck import RandomBottleneck
from acclimate.methods.rational import Rational
from acclimate.methods.reflections import ETHER, HRA, ETHERPlus
from acclimate.methods.reft import ReFT
from acclimate.methods.restyled import Restyled
from acclimate.methods.road import RoAd
from acclimate.methods.rotation import Rotation
from acclimate.methods.router import TokenRouter
from acclimate.methods.sampled import MonteCLoRA
from acclimate.methods.seasonal_trend import SeasonalTrend
from acclimate.methods.second_head import SecondHead
from acclimate.methods.segment import SegmentLoRA
from acclimate.methods.signed import Signed
from acclimate.methods.singular import SORSA, SVFit
from acclimate.methods.sltrain import SLTrain
from acclimate.methods.soft_prompt import SoftPrompt
from acclimate.methods.sparse import Sparse
from acclimate.methods.split_bottleneck import SplitBottleneck
from acclimate.methods.statistics import BatchStatistics, RunningStatistics
from acclimate.methods.structured import BDLoRA, QALoRA
from acclimate.methods.sub_prototypes import SubPrototypes
from acclimate.methods.subspaces import AdaMSS
from acclimate.methods.t3a import T3A
from acclimate.methods.tiny_lora import TinyLoRA
from acclimate.methods.token_graph import TokenGraph
from acclimate.methods.token_rows import TokenRows
from acclimate.methods.tweaked import PEANuT
from acclimate.methods.unmixed import UnmixedStatistics
from acclimate.methods.vector_bank import VBLoRA
from acclimate.methods.vera import VeRA
from acclimate.methods.vida import ViDA
from acclimate.methods.wave_mixer import WaveMixer
from acclimate.methods.wavelet import WaveFT
from acclimate.methods.wiring import Wiring

__all__ = [
    "DEFT",
    "ETHER",
    "HRA",
    "LAME",
    "OSF",
    "PSOFT",
    "SORSA",
    "T3A",
    "Absorbed",
    "AdaLoRA",
    "AdaMSS",
    "AdapterBias",
    "Affine",
    "BDLoRA",
    "BatchPrior",
    "BatchStatistics",
    "BeneathNorm",
    "BoRA",
    "Bone",
    "Bottleneck",
    "Canonical",
    "ChanceStatistics",
    "Circulant",
    "Compacter",
    "DeLoRA",
    "DecomposedPrompt",
    "Descent",
    "DiffusedPrompt",
    "Diverted",
    "DoRA",
    "DomainAttention",
    "DomainExperts",
    "DomainGates",
    "DomainStatistics",
    "DroppedInput",
    "DyLoRA",
    "DynamicPrompt",
    "ETHERPlus",
    "Edited",
    "EigenLoRA",
    "EmergentExperts",
    "EncodedPrompt",
    "ErrorMemory",
    "FRoD",
    "FeatureCache",
    "FeatureMap",
    "FollowedStatistics",
    "FourierFT",
    "Full",
    "GLoRA",
    "GatedPrompt",
    "Gathered",
    "GatheredStatistics",
    "GraLoRA",
    "GranularBottleneck",
    "Hadamard",
    "Head",
    "HeadCore",
    "HiRA",
    "Hydra",
    "InputBridge",
    "InputMap",
    "InputPrompt",
    "InputScale",
    "InstanceStatistics",
    "Invertible",
    "InvokedLoRA",
    "KaSA",
    "Kept",
    "KeptMoments",
    "Kronecker",
    "LabelPrior",
    "Ladder",
    "Lily",
    "LinkedBottleneck",
    "LoRA",
    "LoRAGroup",
    "MapHead",
    "Maps",
    "MetaNetwork",
    "MixedStyles",
    "Monarch",
    "MonteCLoRA",
    "Motion",
    "MultiLoRA",
    "MultitaskPrompt",
    "NearbyPrompt",
    "Neighbours",
    "OpAmp",
    "OrthogonalLoRA",
    "PEANuT",
    "PLaplacian",
    "PVeRA",
    "PaRa",
    "Poly",
    "Prefix",
    "Projected",
    "Pyramid",
    "QALoRA",
    "Quantiles",
    "QueryTokens",
    "RandLoRA",
    "RandomBottleneck",
    "Rational",
    "ReFT",
    "Restyled",
    "RoAd",
    "Rotation",
    "RunningStatistics",
    "SLTrain",
    "SVFit",
    "Scale",
    "SeasonalTrend",
    "SecondHead",
    "SegmentLoRA",
    "Signed",
    "SoftPrompt",
    "Sparse",
    "SplitBottleneck",
    "SubPrototypes",
    "TinyLoRA",
    "TokenGraph",
    "TokenRouter",
    "TokenRows",
    "UniLoRA",
    "UnmixedStatistics",
    "VBLoRA",
    "VeLoRA",
    "VeRA",
    "ViDA",
    "WaveFT",
    "WaveMixer",
    "Wiring",
]
