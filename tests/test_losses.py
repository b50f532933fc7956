"""What holds for every loss there is, and what each says of itself."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.losses import (
    IGNORED,
    MMD,
    AnchorEntropy,
    ClassConfusion,
    ClassDiscrepancy,
    Compatibility,
    ConjugateLabel,
    Consistency,
    CrossEntropy,
    Discriminator,
    Distillation,
    DomainAdversarial,
    Entropy,
    FreeEnergyAlignment,
    GeneralisedCrossEntropy,
    InformationMaximisation,
    LogitAdjusted,
    Loss,
    LossError,
    MeanSquares,
    OnTarget,
    Pinball,
    PriorEntropy,
    PseudoLabel,
    PullToStart,
    Seen,
    SharpenedLabel,
    Sum,
    SymmetricCrossEntropy,
    discrepancy,
    losses,
    ramp,
)

ROWS, CLASSES, CHANNELS = 6, 4, 5
SHARED = {
    "ConditionalAdversarial", "JointMMD", "JointTransport", "MarginDisparity", "ClassDiscrepancy", "ClassifierDiscrepancy",
    "WhichView",
}  # fmt: skip
"""Losses that compare what the two domains say of classes, and one whose outputs are numbers of views."""
VARIANTS: list[Loss] = [
    CrossEntropy(smoothing=0.1),
    GeneralisedCrossEntropy(q=1.0),
    GeneralisedCrossEntropy(of="labels"),
    GeneralisedCrossEntropy(of="teacher"),
    PseudoLabel(of="teacher"),
    PseudoLabel(threshold=0.3),
    PriorEntropy(prior=(0.25,) * 4, direction="prior"),
    PriorEntropy(importance=(1.0,) * 4),
    Distillation(temperature=1.0),
    SymmetricCrossEntropy("views", "teacher"),
    SymmetricCrossEntropy("views", "own", alpha=0.2),
    ConjugateLabel(epsilon=0.0),
    MMD(kernels=2),
    0.5 * Entropy() + MMD() + CrossEntropy(),
]
# LogitAdjusted reads shares that lie among the inputs, so its laws are in test_conditioned.py; those of several domains are in
# test_generalisation.py
EVERY = [
    cls()
    for cls in losses().values()
    if cls not in (Sum, LogitAdjusted) and cls.__module__.startswith("acclimate.") and "domain" not in cls().wants()
] + VARIANTS
OWN_LAWS = {
    "CentreDistance",
    "CycleContrast",
    "EntropyAdversarial",
    "NodeMatching",
    "PatchContrast",
    "QueueContrast",
    "Reconstruction",
}  # in test_dense.py, the last two in test_second_heads.py and test_slots.py
EVERY = [loss for loss in EVERY if type(loss).__name__ not in OWN_LAWS]
ALONE = [
    loss
    for loss in EVERY
    if loss.wants() <= {"labels", "teacher"} and not isinstance(loss, Compatibility | MeanSquares | Pinball)
]


def draw(*shape: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64).requires_grad_()


class Asking(nn.Module):
    """A module that wants its parameter small."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def penalty(self) -> Tensor:
        return self.values.square().sum()

    def taught(self, x: Tensor) -> Tensor:
        return (self.values - x.detach().mean()).square().sum()

    def tell(self, features: Tensor) -> Tensor:
        return features.sum(-1) * self.values.sum()


def seen_by(loss: Loss, progress: float = 0.5, scale: float = 1.0) -> Seen:
    """Everything a loss could want, each a leaf of its own."""
    target = Seen(None, None, draw(ROWS, CLASSES, seed=3), features={"penultimate": draw(ROWS, CHANNELS, seed=4)})
    if isinstance(loss, ClassDiscrepancy):
        target.labels = torch.tensor([1, 1, 0, 2, 3, 0])  # said by a player
    logits = (scale * draw(ROWS, CLASSES, seed=0)).detach().requires_grad_()
    seen = Seen(
        inputs=draw(ROWS, CLASSES, seed=12).detach(),
        output=logits,
        logits=logits,
        labels=torch.tensor([0, 1, 2, 3, 1, 1]),
        features={
            "penultimate": draw(ROWS, CHANNELS, seed=1),
            "moved:norm/bn": draw(ROWS, CHANNELS, seed=12),
            "changes/0": draw(ROWS, CHANNELS, seed=13),
            "gates/0": (scale * draw(ROWS, 3, seed=11)).softmax(-1).detach().requires_grad_(),
            "views": (scale * draw(ROWS, 2, CLASSES, seed=12)).detach().requires_grad_(),
            "prototype": draw(ROWS, CHANNELS, seed=13).detach(),
        },
        target=target,
        teacher=draw(ROWS, CLASSES, seed=2),
        progress=progress,
        start=[(draw(3, seed=5), draw(3, seed=6)), (draw(2, 2, seed=7), draw(2, 2, seed=8))],
        modules=[Asking(draw(3, seed=10)), nn.Identity()],
        index=torch.arange(ROWS),
    )
    if isinstance(loss, MeanSquares):
        seen.labels = draw(ROWS, CLASSES, seed=9)
    torch.manual_seed(0)
    seen.players = loss.players(seen)
    return seen


def taught(seen: Seen) -> list[Tensor]:
    """What a loss may teach."""
    assert seen.target is not None
    features = [*(f for f in seen.features.values() if f.requires_grad), *seen.target.features.values()]
    asking = [module.values for module in seen.modules if isinstance(module, Asking)]
    return [seen.logits, seen.target.logits, *features, *(now for now, _ in seen.start), *asking]


def fixed(seen: Seen) -> list[Tensor]:
    """What no loss may teach."""
    assert seen.teacher is not None and seen.labels is not None
    given = [seen.teacher, *(first for _, first in seen.start)]
    return [*given, seen.labels] if seen.labels.is_floating_point() else given


def gradients(value: Tensor, tensors: list[Tensor]) -> list[Tensor | None]:
    return list(torch.autograd.grad(value, tensors, allow_unused=True, retain_graph=True))


def test_every_loss_of_the_library_is_here() -> None:
    assert {
        "Activity", "Alignment", "Change",
        "Compatibility", "Consistency", "CrossEntropy", "Distillation", "DomainAdversarial", "Entropy",
        "FlippedConsistency",
        "LogitAdjusted", "SelfTaught",
        "GateConcentration",
        "AnchorEntropy", "FreeEnergyAlignment", "OnTarget",
        "GateInformation", "GatePrior",
        "GeneralisedCrossEntropy",
        "InformationMaximisation", "MMD", "MeanSquares", "Penalty", "Pinball",
        "PriorEntropy", "PseudoLabel", "PullToStart", "SharpenedLabel",
        "Sum", "ConjugateLabel", "LikelihoodRatio", "MarginalEntropy", "PrototypeContrast", "SymmetricCrossEntropy",
    } <= set(losses())  # fmt: skip


@pytest.mark.parametrize("loss", EVERY, ids=repr)
class TestEvery:
    def test_a_finite_scalar_that_teaches(self, loss: Loss) -> None:
        seen = seen_by(loss)
        value = loss(seen)
        assert value.shape == () and value.dtype == torch.float64 and value.isfinite()
        found = [g for g in gradients(value, taught(seen)) if g is not None]
        assert any(g.abs().max() > 1e-6 for g in found) and all(g.isfinite().all() for g in found)

    def test_teaches_nothing_that_is_given(self, loss: Loss) -> None:
        seen = seen_by(loss)
        if not isinstance(loss, MeanSquares):  # squares are symmetric: the labels are plain data, which ask no gradient
            assert gradients(loss(seen), fixed(seen)) == [None] * len(fixed(seen))

    def test_says_what_is_missing(self, loss: Loss) -> None:
        assert all(
            want in {"labels", "target", "teacher", "start", "modules"}
            or want.partition(":")[2] in {"penultimate", "gates", "changes", "each:norm", "views", "prototype"}
            for want in loss.wants()
        )
        for want in loss.wants():
            seen = seen_by(loss)
            left = {at: f for at, f in seen.features.items() if want.rpartition(":")[2] not in at}
            empty = {"features": left, "start": [], "modules": []}.get(want.partition(":")[0])
            setattr(seen, want.partition(":")[0], empty)
            with pytest.raises(LossError, match=want):
                loss(seen)

    def test_reads_nothing_it_does_not_name(self, loss: Loss) -> None:
        seen, bare = seen_by(loss), seen_by(loss)
        wants = {want.partition(":")[0] for want in loss.wants()}
        for field, empty in {"labels": None, "teacher": None, "target": None, "start": [], "features": {}}.items():
            if field not in wants:
                setattr(bare, field, empty)
        bare.index = None
        assert torch.equal(loss(bare), loss(seen))

    def test_stays_finite_where_the_model_is_certain(self, loss: Loss) -> None:
        seen = seen_by(loss, scale=1e4)
        value = loss(seen)
        assert value.isfinite()
        assert all(g.isfinite().all() for g in gradients(value, taught(seen)) if g is not None)

    def test_the_order_of_rows_does_not_matter(self, loss: Loss) -> None:
        seen, order = seen_by(loss), torch.tensor([3, 0, 5, 1, 4, 2])
        assert seen.labels is not None and seen.teacher is not None
        mixed = dataclasses.replace(
            seen,
            logits=seen.logits[order],
            labels=seen.labels[order],
            teacher=seen.teacher[order],
            features={at: x[order] for at, x in seen.features.items()},
        )
        torch.testing.assert_close(loss(mixed), loss(seen), rtol=1e-12, atol=1e-12)

    def test_the_names_of_classes_do_not_matter(self, loss: Loss) -> None:
        if isinstance(loss, Pinball) or type(loss).__name__ in SHARED:
            return  # its outputs are levels, in order; or the target's classes go by the same names, and here keep them
        seen, order = seen_by(loss), torch.tensor([2, 0, 3, 1])
        assert seen.labels is not None and seen.teacher is not None
        labels = seen.labels[:, order] if isinstance(loss, MeanSquares) else order.argsort()[seen.labels]
        views = {**seen.features, "views": seen.features["views"][:, :, order]}
        mixed = dataclasses.replace(
            seen, logits=seen.logits[:, order], teacher=seen.teacher[:, order], labels=labels, features=views
        )
        torch.testing.assert_close(loss(mixed), loss(seen), rtol=1e-12, atol=1e-12)


HELD = SharpenedLabel | DomainAdversarial | FreeEnergyAlignment | ClassConfusion
NUMERICALLY = [loss for loss in EVERY if not isinstance(loss, HELD)]


@pytest.mark.parametrize("loss", [loss for loss in NUMERICALLY if "features" not in str(loss.wants())], ids=repr)
def test_the_gradient_is_that_of_the_value(loss: Loss) -> None:
    """Left out: those that hold their targets or widths fixed, or turn a gradient round, each tested by itself."""
    seen = seen_by(loss)
    assert torch.autograd.gradcheck(lambda x: loss(dataclasses.replace(seen, logits=x)), seen.logits)


@pytest.mark.parametrize("loss", ALONE, ids=repr)
def test_pixels_are_rows(loss: Loss) -> None:
    """One image (1, classes, height, width) is a batch of its pixels."""
    seen = seen_by(loss)
    assert seen.labels is not None and seen.teacher is not None

    def image(x: Tensor) -> Tensor:
        return x.T.reshape(1, CLASSES, 2, 3)

    drawn = dataclasses.replace(
        seen, logits=image(seen.logits), teacher=image(seen.teacher), labels=seen.labels.reshape(1, 2, 3)
    )
    torch.testing.assert_close(loss(drawn), loss(seen), rtol=1e-12, atol=1e-12)


def only_logits(logits: Tensor, labels: Tensor | None = None, teacher: Tensor | None = None) -> Seen:
    return Seen(None, logits, logits, labels=labels, teacher=teacher)


def test_sums_are_linear_and_gather_what_their_terms_need() -> None:
    a, b = Entropy(), CrossEntropy()
    whole = 2 * (a + 0.5 * b)
    seen = seen_by(whole)
    torch.testing.assert_close(whole(seen), 2 * a(seen) + b(seen), rtol=1e-12, atol=0)
    assert (a + MMD()).wants() == {"target", "features:penultimate"}
    both = CrossEntropy() + 0.1 * DomainAdversarial()
    assert list(both.players(seen_by(a))) == [DomainAdversarial().player]


class TestLabels:
    def test_smoothing_mixes_in_the_uniform_target(self) -> None:
        seen = seen_by(CrossEntropy())
        uniform = -seen.logits.log_softmax(1).mean()
        expected = 0.7 * CrossEntropy()(seen) + 0.3 * uniform
        torch.testing.assert_close(CrossEntropy(smoothing=0.3)(seen), expected, rtol=1e-12, atol=0)

    @pytest.mark.parametrize("loss", [CrossEntropy(), GeneralisedCrossEntropy(of="labels")], ids=repr)
    def test_ignored_rows_do_not_count(self, loss: Loss) -> None:
        seen = seen_by(loss)
        assert seen.labels is not None
        some = dataclasses.replace(seen, labels=torch.where(torch.arange(ROWS) < 4, seen.labels, IGNORED))
        four = only_logits(seen.logits[:4], seen.labels[:4])
        torch.testing.assert_close(loss(some), loss(four), rtol=1e-12, atol=0)

    @pytest.mark.parametrize("loss", [CrossEntropy(), GeneralisedCrossEntropy(of="labels")], ids=repr)
    @pytest.mark.parametrize(
        ("labels", "says"),
        [
            (torch.tensor([0, 4]), "a label is 4, and the model has classes 0 to 3"),
            (torch.tensor([-1, 2]), "a label is -1"),
            (torch.tensor([IGNORED, IGNORED]), "no row of the batch has a label"),
            (torch.tensor([0.0, 1.0]), "one whole number"),
            (torch.tensor([0, 1, 2]), "one whole number"),
            (torch.zeros(2, 4, dtype=torch.long), "one whole number"),
        ],
    )
    def test_wrong_labels_are_refused(self, loss: Loss, labels: Tensor, says: str) -> None:
        with pytest.raises(LossError, match=says):
            loss(only_logits(torch.zeros(2, 4), labels))

    def test_squares_do_not_broadcast(self) -> None:
        """(rows, 1) less (rows,) is (rows, rows), silently; each label belongs to one row."""
        output = torch.tensor([[0.0], [1.0], [2.0]])
        assert MeanSquares()(only_logits(output, torch.tensor([0.0, 1.0, 2.0]))) == 0
        assert MeanSquares()(only_logits(output, torch.tensor([0, 1, 4]))) == 4 / 3
        with pytest.raises(LossError, match="value by value"):
            MeanSquares()(only_logits(output, torch.zeros(2)))
        with pytest.raises(LossError, match="value by value"):
            MeanSquares()(only_logits(torch.zeros(2, 3), torch.zeros(3, 2)))


class TestEntropies:
    confident = 200 * torch.eye(4, dtype=torch.float64)

    def test_entropy_runs_from_zero_to_the_logarithm_of_the_classes(self) -> None:
        assert Entropy()(only_logits(self.confident)) < 1e-12
        torch.testing.assert_close(Entropy()(only_logits(torch.zeros(3, 4))), torch.tensor(math.log(4)))

    def test_information_is_greatest_where_predictions_are_confident_and_balanced(self) -> None:
        information = InformationMaximisation()
        best = information(only_logits(self.confident))
        assert abs(float(best) + math.log(4)) < 1e-9
        assert abs(float(information(only_logits(self.confident[[0, 0, 0, 0]])))) < 1e-9  # one class for everything
        assert abs(float(information(only_logits(torch.zeros(4, 4))))) < 1e-6  # no decision
        assert all(information(only_logits(draw(8, 4, seed=s))) > best for s in range(20))

    def test_entropy_alone_cannot_tell_a_collapse(self) -> None:
        spread, collapsed = only_logits(self.confident), only_logits(self.confident[[0, 0, 0, 0]])
        assert abs(float(Entropy()(spread) - Entropy()(collapsed))) < 1e-9
        assert InformationMaximisation()(collapsed) > InformationMaximisation()(spread) + 1

    def test_information_is_mutual_information(self) -> None:
        logits = draw(5, 3, seed=0)
        joint = logits.softmax(1) / 5  # rows are equally likely
        independent = joint.sum(0) * joint.sum(1, keepdim=True)
        mutual = (joint * (joint / independent).log()).sum()
        torch.testing.assert_close(InformationMaximisation()(only_logits(logits)), -mutual, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(InformationMaximisation(0.0)(only_logits(logits)), Entropy()(only_logits(logits)))

    def test_a_uniform_prior_is_information_maximisation(self) -> None:
        seen = seen_by(Entropy())
        expected = InformationMaximisation()(seen) + math.log(CLASSES)
        torch.testing.assert_close(PriorEntropy()(seen), expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("direction", ["mean", "prior"])
    def test_the_prior_is_what_the_mean_is_pulled_to(self, direction: str) -> None:
        prior = (0.7, 0.2, 0.1)
        loss = PriorEntropy(prior=prior, weight=100.0, direction=direction)  # type: ignore[arg-type]
        logits = draw(20, 3, seed=0).detach().requires_grad_()
        descent = torch.optim.Adam([logits], lr=0.05)
        for _ in range(300):
            descent.zero_grad()
            loss(only_logits(logits)).backward()
            descent.step()
        mean = logits.softmax(1).mean(0)
        torch.testing.assert_close(mean, torch.tensor(prior, dtype=torch.float64), rtol=0, atol=0.01)

    @pytest.mark.parametrize("direction", ["mean", "prior"])
    def test_the_divergence_is_that_of_the_formula(self, direction: str) -> None:
        prior, seen = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64), seen_by(Entropy())
        mean = seen.logits.softmax(1).mean(0)
        a, b = (mean, prior) if direction == "mean" else (prior, mean)
        loss = PriorEntropy(tuple(prior.tolist()), weight=2.0, direction=direction)  # type: ignore[arg-type]
        expected = Entropy()(seen) + 2 * (a * (a / b).log()).sum()
        torch.testing.assert_close(loss(seen), expected, rtol=1e-10, atol=1e-12)

    def test_each_image_answers_for_its_own_proportions(self) -> None:
        """Two images, one all of class 0 and one all of class 1, are balanced together and neither is by itself."""
        logits = 50 * torch.stack([torch.eye(2)[c].view(2, 1, 1).expand(2, 3, 3) for c in (0, 1)]).double()
        torch.testing.assert_close(PriorEntropy()(only_logits(logits)), torch.tensor(math.log(2)).double())

    def test_a_class_of_no_share_has_a_finite_divergence_in_one_direction(self) -> None:
        assert PriorEntropy((1.0, 0.0), direction="prior")(only_logits(torch.zeros(1, 2))).isfinite()
        with pytest.raises(LossError, match="infinite"):
            PriorEntropy((1.0, 0.0))


class TestOwnLabels:
    def test_generalised_cross_entropy_between_its_ends(self) -> None:
        seen = seen_by(CrossEntropy())
        assert seen.labels is not None
        near = GeneralisedCrossEntropy(q=1e-9, of="labels")(seen)
        torch.testing.assert_close(near, CrossEntropy()(seen), rtol=1e-7, atol=0)
        p = seen.logits.softmax(1)
        distance = (p - F.one_hot(seen.labels, CLASSES)).abs().sum(1).mean() / 2  # mean absolute error
        torch.testing.assert_close(GeneralisedCrossEntropy(q=1.0, of="labels")(seen), distance, rtol=1e-12, atol=0)

    def test_disbelieved_labels_teach_less(self) -> None:
        """The gradient is that of cross-entropy times p^q."""
        logits = torch.tensor([[0.0, 3.0]], dtype=torch.float64, requires_grad=True)
        seen = only_logits(logits, torch.tensor([0]))
        plain, bent = (
            gradients(x(seen), [logits])[0] for x in (CrossEntropy(), GeneralisedCrossEntropy(0.8, "labels"))
        )
        assert plain is not None and bent is not None
        torch.testing.assert_close(bent, plain * logits.softmax(1)[0, 0] ** 0.8, rtol=1e-12, atol=0)

    def test_pseudo_labels_are_cross_entropy_to_the_likeliest(self) -> None:
        seen = seen_by(PseudoLabel())
        given = dataclasses.replace(seen, labels=seen.logits.argmax(1))
        assert torch.equal(PseudoLabel()(seen), CrossEntropy()(given))

    def test_the_threshold_keeps_the_sure_rows(self) -> None:
        seen = seen_by(PseudoLabel())
        confidence = seen.logits.softmax(1).amax(1)
        cut = float(confidence.sort().values[3:5].mean())
        (gradient,) = gradients(PseudoLabel(threshold=cut)(seen), [seen.logits])
        assert gradient is not None
        assert ((gradient != 0).any(1) == (confidence >= cut)).all() and (gradient != 0).any(1).sum() == 2
        assert PseudoLabel(threshold=0.999)(seen) == 0

    def test_sharpened_labels_become_hard_ones(self) -> None:
        seen = seen_by(SharpenedLabel())
        torch.testing.assert_close(SharpenedLabel(1e-4)(seen), PseudoLabel()(seen), rtol=1e-12, atol=0)

    def test_soft_labels_that_are_not_sharpened_teach_nothing(self) -> None:
        """Why temperature 1 is refused: p - q is zero."""
        seen = seen_by(Consistency())
        (gradient,) = gradients(Consistency()(dataclasses.replace(seen, teacher=seen.logits)), [seen.logits])
        assert gradient is not None and gradient.abs().max() < 1e-15
        with pytest.raises(LossError, match="teaches nothing"):
            SharpenedLabel(temperature=1.0)

    def test_sharpening_moves_towards_the_likeliest(self) -> None:
        seen = seen_by(SharpenedLabel())
        (gradient,) = gradients(SharpenedLabel()(seen), [seen.logits])
        assert gradient is not None
        assert (gradient.argmin(1) == seen.logits.argmax(1)).all()


class TestTeachers:
    def test_distillation_is_zero_where_they_agree_and_positive_elsewhere(self) -> None:
        seen = seen_by(Distillation())
        assert abs(float(Distillation()(dataclasses.replace(seen, teacher=seen.logits + 7)))) < 1e-12
        assert Distillation()(seen) > 0.1

    def test_distillation_at_one_is_consistency_less_a_constant(self) -> None:
        seen = seen_by(Distillation())
        (a,) = gradients(Distillation(temperature=1.0)(seen), [seen.logits])
        (b,) = gradients(Consistency()(seen), [seen.logits])
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)

    def test_hot_distillation_matches_centred_logits(self) -> None:
        """As T grows, T^2 KL becomes half the mean squared distance of centred logits (Hinton et al., section 2.1)."""
        seen = seen_by(Distillation())
        assert seen.teacher is not None
        centred = [x - x.mean(1, keepdim=True) for x in (seen.logits, seen.teacher)]
        limit = (centred[0] - centred[1]).square().sum(1).mean() / (2 * CLASSES)
        torch.testing.assert_close(Distillation(temperature=1e3)(seen), limit, rtol=1e-2, atol=0)

    @pytest.mark.parametrize("loss", [Distillation(), Consistency()], ids=repr)
    def test_other_shapes_are_refused(self, loss: Loss) -> None:
        with pytest.raises(ValueError, match="same rows and classes"):
            loss(only_logits(torch.zeros(2, 4), teacher=torch.zeros(1, 4)))


def shifted(by: float) -> tuple[Tensor, Tensor]:
    return draw(40, 3, seed=0).detach(), draw(40, 3, seed=1).detach() + by


class TestDiscrepancy:
    def test_equal_samples_do_not_differ(self) -> None:
        x, _ = shifted(0)
        assert abs(float(discrepancy(x, x))) < 1e-12
        assert abs(float(discrepancy(x, x[torch.randperm(40, generator=torch.Generator().manual_seed(0))]))) < 1e-12

    def test_it_grows_with_the_shift(self) -> None:
        values = [float(discrepancy(*shifted(by))) for by in (0.0, 0.5, 1.0, 2.0, 4.0)]
        assert values == sorted(values) and values[0] < 0.1 < 0.5 < values[-1] <= 2

    def test_it_sees_more_than_means(self) -> None:
        x, y = shifted(0)
        assert discrepancy(x, (y - y.mean(0)) * 3 + x.mean(0)) > 2 * discrepancy(x, y - y.mean(0) + x.mean(0))

    def test_symmetric_and_blind_to_moves_turns_and_scales(self) -> None:
        x, y = shifted(1.0)
        turn = torch.linalg.qr(draw(3, 3, seed=2).detach())[0]
        value = discrepancy(x, y)
        for other in (discrepancy(y, x), discrepancy(5 * x @ turn + 9, 5 * y @ turn + 9)):
            torch.testing.assert_close(other, value, rtol=1e-9, atol=1e-12)

    def test_unequal_numbers_of_rows(self) -> None:
        x, y = shifted(1.0)
        torch.testing.assert_close(discrepancy(torch.cat([x, x]), y) > 0.1, torch.tensor(True))

    def test_the_plain_sum_over_pairs(self) -> None:
        x, y = shifted(1.0)
        both = torch.cat([x, y])
        distances = torch.tensor([[float((a - b).square().sum()) for b in both] for a in both]).double()
        median = distances[~torch.eye(80, dtype=torch.bool)].median()
        kernel = (-distances / median).exp()
        expected = kernel[:40, :40].mean() + kernel[40:, 40:].mean() - 2 * kernel[:40, 40:].mean()
        torch.testing.assert_close(discrepancy(x, y, kernels=1), expected, rtol=1e-5, atol=1e-6)

    def test_the_width_is_held_fixed(self) -> None:
        """Otherwise spreading all features would be a way to bring the domains together."""
        x, y = (z.requires_grad_() for z in shifted(1.0))
        (both,) = torch.autograd.grad(discrepancy(x, y, kernels=1), x)
        median = torch.cdist(*[torch.cat([x, y]).detach()] * 2).square()[~torch.eye(80, dtype=torch.bool)].median()

        def value(a: Tensor, b: Tensor) -> Tensor:
            return (-(a[:, None] - b).square().sum(-1) / median).exp().mean()

        (expected,) = torch.autograd.grad(value(x, x) + value(y, y) - 2 * value(x, y), x)
        torch.testing.assert_close(both, expected, rtol=1e-8, atol=1e-10)

    def test_descending_it_brings_the_domains_together(self) -> None:
        x, y = shifted(2.0)
        y.requires_grad_()
        before = discrepancy(x, y)
        descent = torch.optim.SGD([y], lr=20.0)
        for _ in range(30):
            descent.zero_grad()
            discrepancy(x, y).backward()
            descent.step()
        assert discrepancy(x, y) < before / 4

    def test_features_that_all_agree_give_no_nan(self) -> None:
        x = torch.zeros(3, 2, requires_grad=True)
        value = discrepancy(x, torch.zeros(3, 2))
        value.backward()
        assert value == 0 and x.grad is not None and x.grad.isfinite().all()

    def test_features_of_other_widths_are_refused(self) -> None:
        seen = seen_by(MMD())
        seen.features = {"penultimate": torch.zeros(ROWS, 7)}
        with pytest.raises(LossError, match="7 values a row in the source and 5 in the target"):
            MMD()(seen)


def softmax_over_one_unit() -> nn.Module:
    """The domain classifier that a peer ships: whatever goes in, the probability is 1."""
    layers = nn.Sequential(nn.Linear(CHANNELS, 8), nn.ReLU(), nn.Linear(8, 1), nn.Softmax(dim=1), nn.Flatten(0))
    return layers.double()


class TestDomainAdversarial:
    loss = DomainAdversarial(width=16)

    def features(self, seen: Seen) -> list[Tensor]:
        assert seen.target is not None
        return [seen.features["penultimate"], seen.target.features["penultimate"]]

    def plain(self, seen: Seen) -> Tensor:
        tell = seen.players[self.loss.player]
        source, target = (tell(x) for x in self.features(seen))
        ones, zeros = torch.ones_like(source), torch.zeros_like(target)
        whole = F.binary_cross_entropy_with_logits
        return whole(source, ones) + whole(target, zeros)

    @pytest.mark.parametrize("progress", [0.1, 0.5, 1.0])
    def test_features_climb_what_the_discriminator_descends(self, progress: float) -> None:
        seen = seen_by(self.loss, progress)
        learned = list(seen.players[self.loss.player].parameters())
        torch.testing.assert_close(self.loss(seen), self.plain(seen), rtol=1e-12, atol=0)
        turned, plain = (gradients(x, self.features(seen)) for x in (self.loss(seen), self.plain(seen)))
        for a, b in zip(turned, plain, strict=True):
            assert a is not None and b is not None and b.abs().max() > 1e-4
            torch.testing.assert_close(a, -ramp(progress) * b, rtol=1e-12, atol=0)
        for a, b in zip(gradients(self.loss(seen), learned), gradients(self.plain(seen), learned), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)

    def test_at_first_only_the_discriminator_learns(self) -> None:
        seen = seen_by(self.loss, progress=0.0)
        for gradient in gradients(self.loss(seen), self.features(seen)):
            assert gradient is not None and not gradient.any()
        for gradient in gradients(self.loss(seen), list(seen.players[self.loss.player].parameters())):
            assert gradient is not None and gradient.any()

    def test_the_ramp(self) -> None:
        values = [ramp(step / 10) for step in range(11)]
        assert values[0] == 0 and values == sorted(values) and 0.9999 < values[-1] < 1

    def test_skada_11_a_softmax_over_one_unit_teaches_nothing_and_ours_teaches(self) -> None:
        seen = seen_by(self.loss, progress=1.0)
        learned = list(seen.players[self.loss.player].parameters())
        for gradient in gradients(self.loss(seen), [*self.features(seen), *learned]):
            assert gradient is not None and gradient.abs().max() > 1e-6
        torch.manual_seed(0)
        theirs = softmax_over_one_unit()
        seen.players = {self.loss.player: theirs}
        for gradient in gradients(self.loss(seen), [*self.features(seen), *theirs.parameters()]):
            assert gradient is not None and not gradient.any()

    def test_the_discriminator_learns_to_tell_and_adversaries_to_hide(self) -> None:
        torch.manual_seed(0)
        source, target = shifted(2.0)
        source, target = source.float(), target.float()
        tell = Discriminator(3, width=16)
        learn = torch.optim.Adam(tell.parameters(), lr=0.02)
        seen = Seen(None, None, source, features={"penultimate": source}, progress=1.0)
        seen.target, seen.players = Seen(None, None, target, features={"penultimate": target}), {self.loss.player: tell}

        def error() -> float:
            with torch.no_grad():
                return float(((tell(source) < 0).float().mean() + (tell(target) > 0).float().mean()) / 2)

        for _ in range(100):
            learn.zero_grad()
            self.loss(seen).backward()
            learn.step()
        assert error() < 0.1
        offset = torch.zeros(3, requires_grad=True)
        hide = torch.optim.Adam([offset], lr=0.05)
        for _ in range(100):
            seen.target.features = {"penultimate": target + offset}
            hide.zero_grad()
            self.loss(seen).backward()
            hide.step()
        assert offset.mean() < -1 and float(F.softplus(tell(target + offset)).mean()) > float(
            F.softplus(tell(target)).mean()
        )

    def test_a_player_nobody_made(self) -> None:
        seen = seen_by(self.loss)
        seen.players = {}
        with pytest.raises(LossError, match="discriminator@penultimate"):
            self.loss(seen)

    def test_two_places_have_two_discriminators(self) -> None:
        seen = seen_by(self.loss)
        assert seen.target is not None
        seen.features = {**seen.features, "3": draw(ROWS, 2, seed=11)}
        seen.target.features = {**seen.target.features, "3": draw(ROWS, 2, seed=12)}
        both = DomainAdversarial() + DomainAdversarial(at="3")
        made = both.players(seen)
        assert len(made) == 2 and len({id(m) for m in made.values()}) == 2
        seen.players = made
        assert both(seen).isfinite()


class TestPullToStart:
    def test_half_the_squared_distance_and_its_gradient(self) -> None:
        seen = seen_by(PullToStart())
        expected = sum(((now - first) ** 2).sum() for now, first in seen.start) / 2
        torch.testing.assert_close(PullToStart()(seen), expected, rtol=1e-12, atol=0)
        for (now, first), gradient in zip(
            seen.start, gradients(PullToStart()(seen), [now for now, _ in seen.start]), strict=True
        ):
            torch.testing.assert_close(gradient, (now - first).detach(), rtol=1e-12, atol=0)

    def test_at_the_start_there_is_no_pull(self) -> None:
        now = torch.ones(3, requires_grad=True)
        assert PullToStart()(Seen(None, None, torch.zeros(1, 2), start=[(now, now.detach().clone())])) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: CrossEntropy(smoothing=1.0),
        lambda: InformationMaximisation(diversity=-1.0),
        lambda: PriorEntropy(prior=(0.5, 0.6)),
        lambda: PriorEntropy(prior=(1.5, -0.5)),
        lambda: PriorEntropy(direction="both"),  # type: ignore[arg-type]
        lambda: PseudoLabel(threshold=1.0),
        lambda: PseudoLabel(of="labels"),  # type: ignore[arg-type]
        lambda: GeneralisedCrossEntropy(q=0.0),
        lambda: GeneralisedCrossEntropy(q=1.1),
        lambda: GeneralisedCrossEntropy(of="mine"),  # type: ignore[arg-type]
        lambda: SharpenedLabel(temperature=0.0),
        lambda: Distillation(temperature=0.0),
        lambda: MMD(kernels=0),
        lambda: DomainAdversarial(width=0),
        lambda: PriorEntropy(prior=(0.5, 0.5))(only_logits(torch.zeros(1, 3))),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: object) -> None:
    with pytest.raises(LossError):
        wrong()  # type: ignore[operator]


def test_the_target_is_brought_down_to_where_the_source_is() -> None:
    seen = seen_by(FreeEnergyAlignment())
    assert seen.target is not None
    source, target = (-logits.exp().sum(1).log() for logits in (seen.logits, seen.target.logits))
    value = FreeEnergyAlignment()(seen)
    torch.testing.assert_close(value, (target - source.mean()).clamp_min(0).mean())
    assert gradients(value, [seen.logits]) == [None]


def test_a_loss_on_the_target_is_that_loss_there() -> None:
    seen = seen_by(Entropy())
    assert seen.target is not None
    torch.testing.assert_close(OnTarget(Entropy())(seen), Entropy()(seen.target))
    with pytest.raises(LossError, match="labels"):
        OnTarget(CrossEntropy())(seen)


def test_rows_gather_about_labelled_ones() -> None:
    seen = seen_by(AnchorEntropy())
    assert seen.target is not None
    anchors, rows = seen.features["penultimate"], seen.target.features["penultimate"]
    expected = torch.zeros(ROWS, dtype=torch.float64)
    for i in range(ROWS):
        p = torch.stack([F.cosine_similarity(rows[i], anchors[j], dim=0) for j in range(ROWS)]).softmax(0)
        expected[i] = -(p * p.log()).sum()
    value = AnchorEntropy()(seen)
    torch.testing.assert_close(value, expected.mean())
    assert gradients(value, [anchors]) == [None]
