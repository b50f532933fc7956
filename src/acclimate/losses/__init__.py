"""What teaches: each loss reads what a loop saw (`Seen`) and gives one number; losses add and scale."""

from acclimate.losses.activity import Activity
from acclimate.losses.alignment import Alignment
from acclimate.losses.anchor_entropy import AnchorEntropy
from acclimate.losses.apart import Apart, heard
from acclimate.losses.attentive_entropy import AttentiveEntropy
from acclimate.losses.between_parts import BetweenParts
from acclimate.losses.binary_consistency import BinaryConsistency
from acclimate.losses.centre_distance import CentreDistance
from acclimate.losses.change import Change
from acclimate.losses.class_confusion import ClassConfusion
from acclimate.losses.class_discrepancy import ClassDiscrepancy
from acclimate.losses.classifier_discrepancy import ClassifierDiscrepancy
from acclimate.losses.compatibility import Compatibility
from acclimate.losses.conditional_adversarial import ConditionalAdversarial, ConditionalDiscriminator
from acclimate.losses.confident_label import ConfidentLabel
from acclimate.losses.conjugate_label import ConjugateLabel, conjugate
from acclimate.losses.consistency import Consistency
from acclimate.losses.coral import CORAL
from acclimate.losses.cross_entropy import CrossEntropy
from acclimate.losses.cycle_contrast import CycleContrast
from acclimate.losses.discriminator import Discriminator
from acclimate.losses.distillation import Distillation
from acclimate.losses.diversity import Diversity
from acclimate.losses.domain_adversarial import DomainAdversarial, ramp, reverse
from acclimate.losses.domains import ByDomain, Domains
from acclimate.losses.domains_adversarial import DomainsAdversarial, WithinClassesAdversarial
from acclimate.losses.entropy import Entropy
from acclimate.losses.entropy_adversarial import EntropyAdversarial
from acclimate.losses.feature_distance import FeatureDistance
from acclimate.losses.feature_norm import FeatureNorm
from acclimate.losses.feature_variance import FeatureVariance
from acclimate.losses.flipped_consistency import FlippedConsistency
from acclimate.losses.fooled_discriminator import FooledDiscriminator
from acclimate.losses.free_energy import FreeEnergyAlignment, free_energy
from acclimate.losses.gates import GateConcentration, GateInformation, GatePrior
from acclimate.losses.generalised_cross_entropy import GeneralisedCrossEntropy
from acclimate.losses.gradient_variance import GradientVariance
from acclimate.losses.information import InformationMaximisation
from acclimate.losses.invariant_risk import InvariantRisk
from acclimate.losses.joint_mmd import JointMMD
from acclimate.losses.joint_transport import JointTransport
from acclimate.losses.labels import IGNORED
from acclimate.losses.likelihood_ratio import LikelihoodRatio
from acclimate.losses.local_cross_entropy import LocalCrossEntropy
from acclimate.losses.logit_adjusted import LogitAdjusted
from acclimate.losses.logit_squares import LogitSquares
from acclimate.losses.logits import logits_of
from acclimate.losses.loss import Loss, LossError, Seen, Sum, losses
from acclimate.losses.margin_disparity import MarginDisparity
from acclimate.losses.marginal_entropy import MarginalEntropy
from acclimate.losses.mean_squares import MeanSquares
from acclimate.losses.mmd import MMD, discrepancy
from acclimate.losses.need import need
from acclimate.losses.node_matching import NodeMatching
from acclimate.losses.nuclear_norm import NuclearNorm
from acclimate.losses.on_target import OnTarget
from acclimate.losses.on_views import OnViews
from acclimate.losses.output_energy import DistanceField, OutputEnergy, fitted_field
from acclimate.losses.over_pairs import MomentDistance, OverPairs
from acclimate.losses.part_adversarial import AttendedAdversarial, PartAdversarial
from acclimate.losses.patch_contrast import PatchContrast
from acclimate.losses.penalty import Penalty
from acclimate.losses.pinball import Pinball
from acclimate.losses.prior_entropy import PriorEntropy
from acclimate.losses.prototype_contrast import PrototypeContrast
from acclimate.losses.pseudo_label import PseudoLabel
from acclimate.losses.pull_to_start import PullToStart
from acclimate.losses.queue_contrast import QueueContrast
from acclimate.losses.reconstruction import Reconstruction
from acclimate.losses.risk_slopes import RiskSlopes
from acclimate.losses.risk_spread import RiskQuantile, RiskVariance
from acclimate.losses.routes import DomainExpertInformation, Routed
from acclimate.losses.self_taught import SelfTaught
from acclimate.losses.sharpened_label import SharpenedLabel
from acclimate.losses.sinkhorn import coupling
from acclimate.losses.sliced_wasserstein import SlicedWasserstein
from acclimate.losses.spectrum import Spectrum
from acclimate.losses.symmetric_cross_entropy import SymmetricCrossEntropy
from acclimate.losses.view_contrast import ViewContrast
from acclimate.losses.view_label import ViewLabel
from acclimate.losses.view_squares import ViewSquares
from acclimate.losses.which_view import WhichView

__all__ = [
    "CORAL", "IGNORED", "MMD", "Activity", "Alignment", "AnchorEntropy", "Apart", "AttendedAdversarial",
    "AttentiveEntropy", "BetweenParts", "BinaryConsistency", "ByDomain", "CentreDistance", "Change",
    "ClassConfusion", "ClassDiscrepancy", "ClassifierDiscrepancy", "Compatibility", "ConditionalAdversarial",
    "ConditionalDiscriminator", "ConfidentLabel", "ConjugateLabel", "Consistency", "CrossEntropy",
    "CycleContrast", "Discriminator", "DistanceField", "Distillation", "Diversity", "DomainAdversarial",
    "DomainExpertInformation", "Domains", "DomainsAdversarial", "Entropy", "EntropyAdversarial",
    "FeatureDistance", "FeatureNorm", "FeatureVariance", "FlippedConsistency", "FooledDiscriminator",
    "FreeEnergyAlignment", "GateConcentration", "GateInformation", "GatePrior", "GeneralisedCrossEntropy",
    "GradientVariance", "InformationMaximisation", "InvariantRisk", "JointMMD", "JointTransport",
    "LikelihoodRatio", "LocalCrossEntropy", "LogitAdjusted", "LogitSquares", "Loss", "LossError",
    "MarginDisparity", "MarginalEntropy", "MeanSquares", "MomentDistance", "NodeMatching", "NuclearNorm",
    "OnTarget", "OnViews", "OutputEnergy", "OverPairs", "PartAdversarial", "PatchContrast", "Penalty",
    "Pinball", "PriorEntropy", "PrototypeContrast", "PseudoLabel", "PullToStart", "QueueContrast",
    "Reconstruction", "RiskQuantile", "RiskSlopes", "RiskVariance", "Routed", "Seen", "SelfTaught",
    "SharpenedLabel", "SlicedWasserstein", "Spectrum", "Sum", "SymmetricCrossEntropy", "ViewContrast",
    "ViewLabel", "ViewSquares", "WhichView", "WithinClassesAdversarial", "conjugate", "coupling", "discrepancy",
    "fitted_field", "free_energy", "heard", "logits_of", "losses", "need", "ramp", "reverse",
]  # fmt: skip
