"""The bench of streams: rows, protocols above tables, costs, and a sentence where something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from acclimate.bench import on_streams, stream_tasks
from acclimate.bench.conditions import source
from acclimate.bench.convnet import pretrained
from acclimate.bench.on_streams import answered, findings, measure, ways
from acclimate.bench.resnet import ResNet, read_resnet
from acclimate.bench.stream_tasks import StreamTask
from acclimate.cli.app import app
from acclimate.data.streams import Protocol, Source, mark


def task(**changes: object) -> StreamTask:
    """The digits as a task of this bench."""
    model = pretrained()
    make = {"conditions": ("noise",), "severity": 3, "samples": 150, "size": 50, "base": mark(model), **changes}
    protocols = {"shuffled": Protocol(**make), "correlated": Protocol(**make, correlation=0.01)}  # type: ignore[arg-type]
    return StreamTask("digits", model, source(), protocols)


class Line(torch.nn.Module):
    acclimate_roles = {"last": "head"}

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few methods on the digits, in the place of all of them on data that may not be there."""
    every = ways()
    kept = {name: every[name] for name in ("unadapted", "batch statistics", "tent", "lame")}
    monkeypatch.setattr(on_streams, "ways", lambda *_: kept)
    monkeypatch.setattr(on_streams, "stream_tasks", lambda data, small=False: [task()])
    on_streams._tasks.cache_clear()


def call(*words: str) -> str:
    done = CliRunner().invoke(app, ["bench", "streams", *words])
    return done.stdout if done.exit_code == 0 else f"{done.exception} {done.output}"


def test_every_stream_recipe_there_is_takes_part() -> None:
    assert {"unadapted", "batch statistics", "batch statistics, blend 0.1", "tent", "lame"} <= set(ways())
    assert "cotta, 2 views" in ways() and "cotta" not in ways()
    assert set(ways("squares")) == {"unadapted", "batch statistics, blend 0.1", "late truths, head"}


def test_rows_are_what_a_plain_loop_counts(few: None) -> None:
    rows = measure(Path(), seeds=(0, 1), say=lambda line: None)
    assert [row["method"] for row in rows] == ["unadapted", "batch statistics", "tent", "tent, guarded", "lame"] * 2
    assert all(row["error"] is not None and not row["why"] for row in rows)
    own = task()
    wrong = []
    for seed in (0, 1):
        found = [
            own.model(arrival.inputs).argmax(1) != arrival.labels
            for arrival in own.protocols["shuffled"].flow(own.source, seed)
        ]
        wrong.append(100 * float(torch.cat(found).double().mean()))
    assert rows[0]["error"] == pytest.approx(sum(wrong) / 2, abs=1e-3)
    assert rows[0]["spread"] == pytest.approx(max(wrong) - min(wrong), abs=1e-3)
    assert len({row["protocol"] for row in rows}) == 2


def test_a_task_is_afterwards_what_it_was() -> None:
    own = task(order="reset each", conditions=("noise", "blur"), delay=1)
    before = {name: tensor.clone() for name, tensor in own.model.state_dict().items()}
    flow = own.protocols["shuffled"].flow(own.source)
    one, again = (answered(own, ways()["tent"], flow)[0] for _ in range(2))
    assert torch.equal(one, again)
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.model.state_dict().items())
    alone = task(conditions=("noise",))  # fresh before the second: the first has left nothing behind
    noise = answered(own, ways()["tent"], alone.protocols["shuffled"].flow(own.source))[0]
    assert one.shape == (300, 10) and noise.shape == (150, 10)


def test_late_truths_teach_a_forecaster() -> None:
    """A line whose offset has jumped: what is told two batches late is learned, and what is not told is not."""
    truth = torch.full((240, 1), 2.0)
    inputs = torch.randn(240, 3, generator=torch.Generator().manual_seed(0))
    model = Line().eval()
    own = StreamTask(
        "line", model, Source(truth, ("now",), lambda rows, name, severity, drawn: inputs[rows]), {}, "squares"
    )
    squares = {}
    for delay in (None, 2):
        flow = Protocol(("now",), size=24, order="in time", delay=delay).flow(own.source)
        answers, labels = answered(own, ways("squares")["late truths, head"], flow)
        squares[delay] = float((answers - labels)[-48:].square().mean())
    own_loss = float((model(inputs) - truth)[-48:].detach().square().mean())
    assert squares[None] == pytest.approx(own_loss) and squares[2] < 0.99 * own_loss


def test_tables_stand_below_their_protocols(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = call("--data", str(tmp_path), "--small")
    assert printed.count("noise at severity 3, 150 rows each in batches of 50") == 2
    assert printed.index("classes mixed") < printed.index("shuffled") < printed.index("Dirichlet 0.01")
    assert not (tmp_path / "docs").exists()
    found = json.loads(call("--data", str(tmp_path), "--small", "--json", "--write"))
    assert len(found["rows"]) == 10 and json.loads((tmp_path / "docs" / "streams-bench.json").read_text()) == found
    page = (tmp_path / "docs" / "streams-bench.md").read_text()
    assert found["findings"] == findings(found["rows"]) and all(f"- {said}." in page for said in found["findings"])
    assert "| task | order | method |" in page and page.count("| digits |") == 10


def test_costs_are_ratios_and_bytes(few: None, tmp_path: Path) -> None:
    rows = {row["method"]: row for row in json.loads(call("--data", str(tmp_path), "--cost", "--json"))["rows"]}
    assert "matches no call site" in rows.pop("ecotta, beside the last convolution")["why"]
    assert set(rows) == {"batch statistics", "tent", "lame"}
    assert 0 < rows["tent"]["lean_bytes"] < rows["tent"]["kept_bytes"]
    assert all(row["step"] > 0 and row["guarded"] > 0 for row in rows.values())
    assert rows["tent"]["kept_bytes"] > 0 and rows["lame"]["kept_bytes"] == rows["batch statistics"]["kept_bytes"] == 0


def test_what_is_missing_is_said_in_a_sentence(tmp_path: Path) -> None:
    assert "skipped: there is no folder" in call("--data", str(tmp_path / "nowhere"))
    assert "has no such file" in call("--data", str(tmp_path))
    for also in (["--small"], ["--jobs", "2"]):
        assert "leave out --small and --jobs" in call("--data", str(tmp_path), "--cost", *also)
    done = CliRunner().invoke(app, ["bench", "rules", "--data", str(tmp_path), "--cost"])
    assert done.exit_code and "has no --cost" in f"{done.exception} {done.output}"


@pytest.mark.parametrize(("blocks", "projects"), [(3, False), (9, False), (2, True)])
def test_checkpoints_of_both_kinds_are_read(blocks: int, projects: bool, tmp_path: Path) -> None:
    model = ResNet(blocks, projects).eval()
    held = model.state_dict()
    if projects:
        ours = (("layer", "stage_"), ("conv", "conv_"), ("bn", "bn_"), ("linear.", "fc."))
        for one, other in ours:
            held = {name.replace(one, other): tensor for name, tensor in held.items()}
        torch.save(held, tmp_path / "net.pth")
    else:
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in held.items()}}, tmp_path / "net.pth")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(read_resnet(tmp_path / "net.pth")(images), model(images))


def test_the_real_tasks_can_be_had_where_their_data_is() -> None:
    import os

    folder = os.environ.get("ACCLIMATE_DATA", "")
    if not folder:
        pytest.skip("ACCLIMATE_DATA names no folder with the data")
    (own,) = stream_tasks.stream_tasks(Path(folder), small=True)
    answers, labels = answered(own, None, Protocol(("clean",), samples=500).flow(own.source))
    assert 0.75 < float((answers.argmax(1) == labels).double().mean()) < 0.88


def test_a_table_that_was_cut_off_goes_on_in_its_folder(few: None, tmp_path: Path) -> None:
    rows = tmp_path / "streams.rows.jsonl"
    found = json.loads(call("--data", str(tmp_path), "--small", "--json", "--out", str(tmp_path)))["rows"]
    assert not rows.exists() and json.loads((tmp_path / "streams.json").read_text())["rows"] == found
    measure(Path(tmp_path), small=True, kept=rows, say=lambda line: None)
    first, *others = rows.read_text().split("\n")
    rows.write_text("\n".join([first.replace(str(found[0]["error"]), "12.5"), *others]))
    again = json.loads(call("--data", str(tmp_path), "--small", "--json", "--out", str(tmp_path)))["rows"]
    assert again[0] == found[0] | {"error": 12.5} and again[1:] == found[1:]


def test_findings_say_what_holds_and_what_does_not() -> None:
    errors = {
        "shuffled": {"unadapted": 50, "batch statistics": 30, "tent": 31, "lame": 55, "rotta": 49, "adaptive": 30.9},
        "correlated": {"unadapted": 50, "batch statistics": 60, "tent": 70, "lame": 40, "rotta": 45, "adaptive": 42},
    }
    rows = [
        {"task": "one", "order": order, "method": method, "error": error, "protocol": f"{order}; error; seeds 0"}
        for order, methods in errors.items()
        for method, error in methods.items()
    ]
    said = findings([*rows, {**rows[0], "task": "two", "protocol": "late; squares; seeds 0"}])
    assert all(sentence.startswith("one: ") for sentence in said)
    held = {sentence.removeprefix("one: ").partition(": ")[2]: "does not" not in sentence for sentence in said}
    assert held == {
        "batch statistics are better than the source on mixed classes (30.0 against 50.0)": True,
        "Tent is at or under batch statistics on mixed classes (31.0 against 30.0)": False,
        "LAME harms on mixed classes (50.0 against 55.0)": True,
        "RoTTA is alive after all conditions, under the source (49.0 against 50.0)": True,
        "Tent is far worse where classes come in runs (70.0 against 31.0 where they are mixed)": True,
        "lame is best in runs (40.0; lame 40.0)": True,
        "adaptive is within a point of the best, shuffled (30.9; batch statistics 30.0)": True,
        "adaptive is within a point of the best, correlated (42.0; lame 40.0)": False,
    }
