"""What is gathered over a stream is what its rows say, begins anew where conditions change, and corrects on evidence alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import acclimate as acc
from acclimate.engine import MethodError
from acclimate.loops import Adaptation
from acclimate.methods import BatchPrior, GatheredStatistics
from acclimate.methods.batch_prior import batch_shares


class Net(nn.Module):
    acclimate_roles = {"head": "head"}

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x))


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def answers(model: Net, method: acc.Method, batches: list[Tensor], at: str) -> list[Tensor]:
    with acc.stream(model, Adaptation({method: at}), guard=False, window=0) as live:
        return [live(x) for x in batches]


def drawn(*moved: float) -> list[Tensor]:
    """A thousand rows of each."""
    draw = torch.Generator().manual_seed(1)
    return [torch.randn(1000, 3, generator=draw) + by for by in moved]


def expected(model: Net, x: Tensor, gathered: Tensor, weights: Tensor, n: float) -> Tensor:
    """What is answered to x where the norm goes by these rows, each of this weight, and by n of the source."""
    share = n / (n + float(weights.sum()))
    mean, square = ((weights[:, None] * part).sum(0) / weights.sum() for part in (gathered, gathered.square()))
    var = (1 - share) * (square - mean**2) + share * model.norm.running_var
    return model.head((x - (1 - share) * mean) / (var + model.norm.eps).sqrt()).detach()


@pytest.mark.parametrize("moved", [0.0, 3.0])
def test_norms_are_by_all_rows_since_conditions_changed(moved: float) -> None:
    """The first two batches tell that classes are mixed."""
    first, second, third = drawn(0, 0, moved)
    model, n = net(), 8.0
    given = answers(model, GatheredStatistics(prior=n, most=1e6), [first, second, third], "all")
    gathered = (first, torch.cat([first, second]), third if moved else torch.cat([first, second, third]))
    for x, rows, answer in zip((first, second, third), gathered, given, strict=True):
        torch.testing.assert_close(answer, expected(model, x, rows, torch.ones(len(rows)), n), rtol=1e-4, atol=1e-5)


def test_where_classes_come_in_runs_little_is_forgotten() -> None:
    """Each batch lies elsewhere than the one before, as conditions that changed would; mixed, the fifth would be alone."""
    rows, model, n = drawn(0, 3, -3, 3, 30), net(), 8.0
    method = GatheredStatistics(prior=n, most=1e6, kept=50)
    first, second, *_, last = answers(model, method, rows, "all")
    weights = torch.cat([torch.full((1000,), 0.05), torch.ones(1000)])
    torch.testing.assert_close(first, expected(model, rows[0], rows[0], torch.ones(1000), n), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, expected(model, rows[1], torch.cat(rows[:2]), weights, n), rtol=1e-4, atol=1e-5)
    alone = expected(model, rows[-1], rows[-1], torch.ones(1000), n)
    assert not torch.allclose(last, alone, atol=0.1)


@pytest.mark.parametrize("width", [0.5, 1e9])
def test_in_runs_a_row_is_normalised_by_its_own_moments_where_they_are_no_chance(width: float) -> None:
    x = torch.cat([torch.randn(20, 3, 8, generator=torch.Generator().manual_seed(0)), torch.full((1, 3, 8), 9.0)])
    x[-1, :, 0] += 1
    norm = nn.BatchNorm1d(3).eval()
    given = answers(nn.Sequential(norm), GatheredStatistics(width=width), [x, x], "all")  # type: ignore[arg-type]
    far = given[0][-1].detach().mean()
    assert far < 1 if width == 0.5 else far > 3


def test_looking_gathers_nothing() -> None:
    model = net()
    acc.attach(model, {GatheredStatistics(): "all", BatchPrior(): "head"})
    x = torch.randn(20, 3)
    one, other = model(x), model(x)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_norm_that_runs_before_the_first_one_is_an_error() -> None:
    class Backwards(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[0](self[1](x))

    model = Backwards(nn.BatchNorm1d(3), nn.BatchNorm1d(3)).eval()
    acc.attach(model, GatheredStatistics(), at="all")
    with pytest.raises(MethodError, match="first norm"):
        model(torch.randn(4, 3))


@pytest.mark.parametrize("kind", ["mixed", "few"])
def test_shares_are_those_of_expectation_maximisation_and_used_on_evidence(kind: str) -> None:
    classes = torch.arange(60) % 3 if kind == "mixed" else torch.zeros(60, dtype=torch.long)
    logits = 1.5 * F.one_hot(classes, 3).float() + 0.3 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    p, usual = logits.softmax(1), torch.full((3,), 1 / 3)
    shares = usual
    for _ in range(20):
        weighed = p * shares / usual
        shares = (F.normalize(weighed, p=1, dim=1).sum(0) + 3 * usual) / 63
    found, evidence = batch_shares(p, usual)
    torch.testing.assert_close(found, shares)
    assert bool(evidence > 0) == (kind == "few")
    model = net()
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(3))
        model.head.bias.zero_()
    plain = model.head(logits).detach()
    acc.attach(model, BatchPrior(), at="head")
    expected = plain if kind == "mixed" else plain.log_softmax(1) + (shares / usual).log()
    torch.testing.assert_close(model.head(logits).detach(), expected)
