"""Networks that take part in a run and are not the model: teachers, givers of labels, what restores."""

from acclimate.losses import Discriminator
from acclimate.players.accumulated import Accumulated
from acclimate.players.adapter_teacher import AdapterTeacher
from acclimate.players.adversarial_views import AdversarialViews
from acclimate.players.affine_view import AffineView
from acclimate.players.against_source import AgainstSource
from acclimate.players.amplitude_view import AmplitudeView
from acclimate.players.anchors import Anchors
from acclimate.players.asking import answer, quiet
from acclimate.players.augment import Augmentation, ImageAugmentation
from acclimate.players.augmented_teacher import AugmentedTeacher
from acclimate.players.base_teacher import BaseTeacher
from acclimate.players.centroid_labels import CentroidLabels, nearest_centroid
from acclimate.players.class_centres import ClassCentres
from acclimate.players.class_mix import ClassMix
from acclimate.players.class_shares import ClassShares
from acclimate.players.class_thresholds import ClassThresholds
from acclimate.players.continual_filter import ContinualFilter
from acclimate.players.contrasting_teacher import ContrastingTeacher
from acclimate.players.debiased_teacher import DebiasedTeacher
from acclimate.players.denoiser import Denoiser
from acclimate.players.ema_teacher import EMATeacher
from acclimate.players.filters import Confident, Diverse, EntropyBand, Filter, FilterState, LowEntropy, Novel, Sensitive
from acclimate.players.fisher import Fisher
from acclimate.players.followed_features import FollowedFeatures
from acclimate.players.frozen_features import FrozenFeatures
from acclimate.players.group_weights import GroupWeights
from acclimate.players.label_budget import LabelBudget, LabelBudgetState
from acclimate.players.laplacian_labels import LaplacianLabels
from acclimate.players.learned_augmentation import LearnedAugmentation
from acclimate.players.memories import CategoryBalanced, Memory, MemoryState, PredictionBalanced
from acclimate.players.mixed_source import Blended, InStyle, MixedSource
from acclimate.players.neighbour_teacher import NeighbourTeacher
from acclimate.players.of_target import OfTarget
from acclimate.players.other_teacher import OtherTeacher
from acclimate.players.peer import Peer
from acclimate.players.player import Player, PlayerState
from acclimate.players.prior_correction import PriorCorrection
from acclimate.players.prototypes import Prototypes
from acclimate.players.rank_budget import RankBudget
from acclimate.players.rank_shares import RankShares
from acclimate.players.resets import Every, LowLoss
from acclimate.players.second_views import SecondViews
from acclimate.players.self_challenge import SelfChallenge
from acclimate.players.shuffled_patches import ShuffledPatches
from acclimate.players.stochastic_restore import StochasticRestore
from acclimate.players.teacher import Teacher, TeacherState
from acclimate.players.towards_start import TowardsStart
from acclimate.players.turned import TURNS, Turned
from acclimate.players.views import Views
from acclimate.players.warm_start import WarmStart

__all__ = [
    "TURNS", "Accumulated", "AdapterTeacher", "AdversarialViews", "AffineView", "AgainstSource",
    "AmplitudeView", "Anchors", "Augmentation", "AugmentedTeacher", "BaseTeacher", "Blended",
    "CategoryBalanced", "CentroidLabels", "ClassCentres", "ClassMix", "ClassShares", "ClassThresholds",
    "Confident", "ContinualFilter", "ContrastingTeacher", "DebiasedTeacher", "Denoiser", "Discriminator",
    "Diverse", "EMATeacher", "EntropyBand", "Every", "Filter", "FilterState", "Fisher", "FollowedFeatures",
    "FrozenFeatures", "GroupWeights", "ImageAugmentation", "InStyle", "LabelBudget", "LabelBudgetState",
    "LaplacianLabels", "LearnedAugmentation", "LowEntropy", "LowLoss", "Memory", "MemoryState", "MixedSource",
    "NeighbourTeacher", "Novel", "OfTarget", "OtherTeacher", "Peer", "Player", "PlayerState",
    "PredictionBalanced", "PriorCorrection", "Prototypes", "RankBudget", "RankShares", "SecondViews",
    "SelfChallenge", "Sensitive", "ShuffledPatches", "StochasticRestore", "Teacher", "TeacherState",
    "TowardsStart", "Turned", "Views", "WarmStart", "answer", "nearest_centroid", "quiet",
]  # fmt: skip
