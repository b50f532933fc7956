"""``acclimate watch``: answers first, a state to go on from, and a report."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from acclimate.bench.conditions import CONDITIONS
from acclimate.bench.digits import digits
from acclimate.cli.app import app
from acclimate.cli.arrivals import Arrival, from_data, from_folder, from_lines, late_labels
from acclimate.cli.model import load
from acclimate.cli.watched import Watched
from acclimate.data import DataError
from acclimate.loops import stream
from acclimate.recipes import recipe

MODEL = ["--model", "acclimate.bench:pretrained"]


def call(*words: str, given: str = "") -> Any:
    return CliRunner().invoke(app, list(words), input=given)


def answers(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]


def test_data_is_answered_in_order_beside_the_unadapted_model(tmp_path: Path) -> None:
    result = call("watch", "norm-test", *MODEL, "--stream", "digits:test", "--out", str(tmp_path), "--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    given = answers(tmp_path)
    labels = digits("test")[1]
    assert [each["row"] for each in given] == list(range(len(labels)))
    right = float((torch.tensor([each["class"] for each in given]) == labels).double().mean())
    assert record["accuracy"] == pytest.approx(right) and record["unadapted"] > 0.9
    assert record["rows"] == record["labelled"] == len(labels)
    page = (tmp_path / "report.html").read_text()
    assert "never reset" in page and "What the guard said" in page and record["base"] in page


def test_accuracy_stands_by_conditions_where_what_comes_in_drifts(tmp_path: Path) -> None:
    images, labels = digits("test")
    changed = torch.cat([images[:200], CONDITIONS["contrast"](images[200:400], 0.6, torch.Generator())])
    np.savez(tmp_path / "came.npz", image=changed.numpy(), label=labels[:400].numpy())
    words = [
        "watch",
        "norm-test",
        *MODEL,
        "--stream",
        str(tmp_path / "came.npz"),
        "--size",
        "50",
        "--out",
        str(tmp_path),
    ]
    result = call(*words, "--json")
    assert result.exit_code == 0, result.stderr
    (drift,) = [event for event in json.loads(result.stdout)["events"] if event["kind"] == "drift"]
    assert drift["step"] == 4
    page = (tmp_path / "report.html").read_text()
    assert "By conditions" in page and "from row 0" in page and "from row 200" in page
    kept = json.loads((tmp_path / "seen.json").read_text())[-1]["parts"]
    assert [(first, labelled) for first, labelled, _, _ in kept] == [(0, 200), (200, 200)]
    assert kept[0][3] > 190 and kept[1][3] < 60


def test_a_killed_watch_gives_the_answers_of_one_that_was_not(tmp_path: Path) -> None:
    words = ["watch", "tent", *MODEL, "--stream", "digits:test", "--size", "20", "--every", "2", "--no-guard"]
    assert call(*words, "--out", str(tmp_path / "whole")).exit_code == 0
    code = (
        "import os, signal, sys\n"
        "from acclimate.cli.app import app\n"
        "from acclimate.loops.stream import Stream\n"
        "plain = Stream.__call__\n"
        "def dies(self, inputs):\n"
        "    if self.step == 11:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return plain(self, inputs)\n"
        "Stream.__call__ = dies\n"
        "app(sys.argv[1:])\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", code, *words, "--out", str(tmp_path / "killed")], env=os.environ, check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert 0 < len(answers(tmp_path / "killed")) < 240
    again = call(*words, "--out", str(tmp_path / "killed"))
    assert again.exit_code == 0 and "200 rows were answered before" in again.stderr
    assert answers(tmp_path / "killed") == answers(tmp_path / "whole")
    records = [json.loads((tmp_path / name / "watch.json").read_text()) for name in ("killed", "whole")]
    assert records[0] == records[1]


def images(folder: Path, rows: slice) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for row in range(*rows.indices(100)):
        names.append(f"{row:03}.png")
        Image.fromarray((digits("test")[0][row, 0] * 255).to(torch.uint8).numpy()).save(folder / names[-1])
    return names


def test_a_folder_that_has_grown_is_gone_on_with(tmp_path: Path) -> None:
    words = [
        "watch",
        "norm-test",
        *MODEL,
        "--stream",
        str(tmp_path / "in"),
        "--out",
        str(tmp_path / "out"),
        "--size",
        "16",
    ]
    first = images(tmp_path / "in", slice(0, 40))
    assert call(*words).exit_code == 0
    second = images(tmp_path / "in", slice(40, 60))
    assert call(*words).exit_code == 0
    assert [each["name"] for each in answers(tmp_path / "out")] == [*first, *second]


def test_an_image_that_is_still_being_written_waits(tmp_path: Path) -> None:
    names, seen = images(tmp_path, slice(0, 3)), set[str]()
    came = from_folder(tmp_path, load(MODEL[1]), 8, seen, patience=0.4, pause=0.01)
    assert list(next(came).called) == names
    whole = (tmp_path / names[0]).read_bytes()
    (tmp_path / "late.png").write_bytes(whole[: len(whole) // 2])
    looks = iter(range(3))

    class Growing:
        """Finishes the file on the second look at it."""

        def __call__(self, seconds: float) -> None:
            if next(looks, 9) == 1:
                (tmp_path / "late.png").write_bytes(whole)

    import acclimate.cli.arrivals as arrivals

    arrivals.time, kept = type("clock", (), {"sleep": Growing(), "monotonic": arrivals.time.monotonic}), arrivals.time
    try:
        (arrival,) = came
    finally:
        arrivals.time = kept
    assert list(arrival.called) == ["late.png"] and np.allclose(
        arrival.inputs.numpy(), digits("test")[0][:1], atol=1 / 128
    )


def test_lines_are_inputs_and_late_labels() -> None:
    lines = io.StringIO('[1.0, 2.0]\n{"row": 0, "class": 3}\n\n[3.0, 4.0]\n[5, 6]\n')
    came = list(from_lines(lines, load("torch.nn:Identity"), 2))
    assert (
        came[0].late == {0: 3} and came[1].inputs.tolist() == [[1, 2], [3, 4]] and came[2].inputs.tolist() == [[5, 6]]
    )
    for bad, said in (
        ("{", "no JSON"),
        ('{"row": 1}', "no label"),
        ('"text"', "tokenizer"),
        ("[1]\n[1, 2]", "one shape"),
    ):
        with pytest.raises(DataError, match=said):
            list(from_lines(io.StringIO(bad), load("torch.nn:Identity"), 2))


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    assert late_labels(path, 0) == ({}, 0)
    path.write_text("row,class\n3,1\n4,2")
    found, read = late_labels(path, 0)
    assert found == {3: 1}
    path.write_text("row,class\n3,1\n4,21\n")
    assert late_labels(path, read) == ({4: 21}, len("row,class\n3,1\n4,21\n"))


def test_late_labels_in_a_file_reach_the_guard(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("".join(f"{row},{kind}\n" for row, kind in enumerate(digits("test")[1].tolist())))
    words = [
        "watch",
        "tent",
        *MODEL,
        "--stream",
        "digits:test",
        "--out",
        str(tmp_path / "out"),
        "--labels",
        str(labels),
    ]
    assert call(*words).exit_code == 0


def test_what_does_not_fit_the_state_on_disk_is_refused(tmp_path: Path) -> None:
    words = ["watch", "norm-test", *MODEL, "--stream", "digits:test", "--out", str(tmp_path)]
    assert call(*words, "--size", "32").exit_code == 0
    with pytest.raises(DataError, match="--size"):
        list(from_data("digits:test", load(MODEL[1]), {}, 50, 0, skip=64))
    (tmp_path / "answers.jsonl").unlink()
    result = call(*words, "--size", "32")
    assert result.exit_code == 2 and "another folder" in result.stderr


def test_an_answer_to_what_is_no_number_is_not_the_adapted_model_s(tmp_path: Path) -> None:
    live = stream(load(MODEL[1]).model, recipe("norm-test"), guard=False)
    seen = Watched(tmp_path)
    images = digits("test")[0][:4]
    seen.meet(live, Arrival(images, ["a"] * 4))
    seen.meet(live, Arrival(images / 0, ["b"] * 4))
    assert [each["by"] for each in seen.given] == ["unadapted"] * 8  # no window of rows is full yet, then no numbers
    for _ in range(20):
        seen.meet(live, Arrival(images, ["c"] * 4))
    assert seen.given[-1]["by"] == "adapted"


def test_what_cannot_be_watched_is_said_in_a_sentence(tmp_path: Path) -> None:
    result = call("watch", "lora", *MODEL, "--stream", "digits:test", "--out", str(tmp_path))
    assert result.exit_code == 2 and "does not run on a stream" in result.stderr
