"""The benches of domains and of advice tell what was there, and what was picked of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from acclimate.bench import deep_peers, on_advice, on_consensus, on_domains
from acclimate.bench.domain_tasks import DomainTask, LeNet, domain_tasks
from acclimate.loops import evaluate
from acclimate.recipes import advised


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outlines of three kinds, waves of three lengths, whose strength differs from bone to bone."""
    found = tmp_path_factory.mktemp("data")
    (found / "timeseries").mkdir()
    draw = np.random.default_rng(0)
    for number, bone in enumerate(("Distal", "Middle", "Proximal")):
        for part, rows in (("TRAIN", 18), ("TEST", 12)):
            labels = np.arange(rows) % 3 + 1
            waves = np.sin(np.arange(24) * labels[:, None]) * (1 - 0.3 * number) + draw.normal(0, 0.1, (rows, 24))
            path = found / "timeseries" / f"{bone}PhalanxOutlineAgeGroup_{part}.npy"
            np.save(path, np.concatenate([labels[:, None], waves], 1))
    return found


def test_a_pair_is_labelled_rows_of_both_and_a_network_that_its_seed_makes(folder: Path) -> None:
    tasks = list(domain_tasks(folder, small=True))
    assert [task.name for task in tasks][:2] == ["bones, distal to middle", "bones, distal to proximal"]
    assert len(tasks) == 6
    for task in tasks:
        assert len(task.source[0]) == len(task.target[0]) == 30
        assert sorted(task.source[1].unique().tolist()) == [0, 1, 2]
        one, other = (task.make(3)(task.source[0]) for _ in "ab")
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_what_is_picked_was_there_and_is_no_better_than_what_labels_find(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_domains, "FEW", ("mcc", "self-ensembling"))
    task = next(domain_tasks(folder, small=True))
    made = on_domains.ways(task, small=True)
    assert set(made) == {"mcc"}  # the other changes images, and these are none
    said: list[str] = []
    rows = {row["method"]: row for row in on_domains.tried(task, made, (0,), said.append)}
    assert {"source only", "mcc"} < set(rows) and len(said) == 2
    best = rows["oracle, by the target's labels"]["last"]
    ends = [rows[name]["best step"] for name in ("source only", "mcc")]
    assert best >= max(ends)
    for name, row in rows.items():
        if name.startswith("picked by"):
            assert row["last"] <= best


def test_advice_is_counted_once_for_each_pair_and_never_better_than_the_best(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = advised.candidates
    monkeypatch.setattr(advised, "candidates", lambda have: few(have, ("mcc",) if "source" in have else ("shot",)))
    tasks = list(domain_tasks(folder, small=True))[:1]
    monkeypatch.setattr(on_advice, "domain_tasks", lambda data, small: iter(tasks))
    rows = on_advice.measure(folder, small=True, say=lambda line: None)
    pairs, counts = rows[:-2], rows[-2:]
    assert [row["pair"] for row in pairs] == ["bones, distal to itself"] * 2 + ["bones, distal to middle"] * 2
    for row in pairs:
        assert row["picked"] <= row["best"] and row["as it came"] <= row["best"]
    for count in counts:
        assert count["pairs"] == 2 == sum(count[name] for name in on_advice.VERDICTS)


@pytest.mark.parametrize("name", list(deep_peers.OURS))
def test_at_equal_settings_ours_are_taught(name: str) -> None:
    x = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 0.1
    y = torch.arange(64) % 2
    x[y == 1, :, 14:] += 0.8
    torch.manual_seed(0)
    task = DomainTask("halves", lambda seed: LeNet(classes=2), (x, y), (x * 0.9, y), 30)
    model = task.make(0)
    assert deep_peers.taught_by("acclimate", name, model, task.source, task.target[0], task.epochs, 0)
    assert evaluate(model, task.target).accuracy == 1.0


def test_means_are_over_the_pairs_of_a_kind_and_count_harm() -> None:
    def row(method: str, last: float | None, pair: str) -> dict[str, object]:
        return {"method": method, "last": last, "protocol": f"bones, {pair}, 5 epochs"}

    rows = [row("source only", 60.0, "a to b"), row("mcc", 59.0, "a to b"), row("afn", None, "a to b")]
    rows += [row("source only", 40.0, "b to a"), row("mcc", 51.0, "b to a"), row("coral", 41.0, "b to a")]
    found = {each["method"]: (each["last"], each["below source only"]) for each in on_domains.means(rows)}
    assert found == {"source only": (50.0, 0), "mcc": (55.0, 1)}


def test_auto_stands_beside_the_source_on_every_pair(folder: Path) -> None:
    means, *pairs = on_consensus.measure(folder, small=True, say=lambda line: None)
    assert means["pairs"] == len(pairs) == 6 and means["kind"] == "bones"
    assert means["below source"] == sum(row["auto"] < row["source"] for row in pairs)
    assert means["over"] == pytest.approx(sum(row["auto"] - row["source"] for row in pairs) / 6, abs=0.06)
