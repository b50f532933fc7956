"""Laws of data: the order depends on seed and epoch alone, every row comes once, and bad data is refused by name."""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler
from transformers import BatchEncoding
from transformers.utils import ModelOutput

from acclimate.data import (
    Batch,
    Batches,
    ClassBalanced,
    DataError,
    InOrder,
    LengthBuckets,
    Policy,
    Shuffled,
    as_batches,
    read,
)

ROWS = 103
X = torch.arange(ROWS * 2, dtype=torch.float32).reshape(ROWS, 2)
Y = (torch.arange(ROWS) % 7).clamp(max=3)  # classes 0 to 3; the last has most
LENGTHS = torch.randint(1, 60, (ROWS,), generator=torch.Generator().manual_seed(0))
TEXTS = ["w " * int(n) for n in LENGTHS]
POLICIES = [Shuffled(), InOrder(), LengthBuckets(window=2), LengthBuckets(), ClassBalanced(), ClassBalanced(each=10)]
ONCE = [policy for policy in POLICIES if not isinstance(policy, ClassBalanced)]


def words(texts: list[str]) -> dict[str, Tensor]:
    """A tokenizer: one token a word, padded to the longest."""
    counts = [len(text.split()) for text in texts]
    mask = torch.tensor([[1] * n + [0] * (max(counts) - n) for n in counts])
    return {"input_ids": mask, "attention_mask": mask}


def made(policy: Policy, **options: Any) -> Batches:
    return Batches(X, Y, size=8, policy=policy, lengths=LENGTHS, **options)


def order(batches: Batches, epoch: int, start: int = 0) -> list[list[int]]:
    return [batch.index.tolist() for batch in batches.epoch(epoch, start)]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
class TestPolicies:
    def test_order_depends_on_seed_and_epoch_alone(self, policy: Policy) -> None:
        batches = made(policy, seed=3)
        expected = order(batches, 2)
        for _ in range(4):  # whatever was read before, and whatever was drawn elsewhere
            torch.rand(5)
            list(batches.epoch(0))
        assert order(batches, 2) == order(made(policy, seed=3), 2) == expected
        if policy != InOrder():
            assert order(batches, 1) != expected
            assert order(made(policy, seed=4), 2) != expected

    def test_the_global_random_state_is_left_alone(self, policy: Policy) -> None:
        before = torch.get_rng_state()
        list(made(policy).epoch(0))
        assert torch.equal(torch.get_rng_state(), before)

    def test_an_epoch_goes_on_where_it_stopped(self, policy: Policy) -> None:
        batches = made(policy)
        assert order(batches, 1, start=3) == order(batches, 1)[3:]

    def test_length_is_the_number_of_batches(self, policy: Policy) -> None:
        for dropped in (False, True):
            batches = made(policy, drop_last=dropped)
            assert len(batches) == len(order(batches, 0))
            assert not dropped or {len(rows) for rows in order(batches, 0)} == {8}

    def test_rows_belong_together(self, policy: Policy) -> None:
        for batch in made(policy).epoch(1):
            assert torch.equal(batch.inputs, X[batch.index])
            assert torch.equal(batch.labels, Y[batch.index])

    def test_iterating_reads_every_row_in_the_order_of_the_data(self, policy: Policy) -> None:
        assert torch.equal(torch.cat([batch.index for batch in made(policy, drop_last=True)]), torch.arange(ROWS))

    def test_workers_change_nothing(self, policy: Policy) -> None:
        alone, shared = (
            Batches(TensorDataset(X, Y), size=32, policy=policy, workers=n, lengths=LENGTHS) for n in (0, 1)
        )
        for one, other in zip(alone.epoch(0), shared.epoch(0), strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("policy", ONCE, ids=str)
@pytest.mark.parametrize("epoch", [0, 5])
def test_every_row_comes_once_an_epoch(policy: Policy, epoch: int) -> None:
    assert sorted(row for batch in order(made(policy), epoch) for row in batch) == list(range(ROWS))


@pytest.mark.parametrize("source", ["lengths", "tokenizer", "texts"])
def test_buckets_reduce_padding(source: str) -> None:
    options: dict[str, Any] = {"lengths": LENGTHS} if source == "lengths" else {}
    collate = words if source == "tokenizer" else None

    def padded(policy: Policy) -> int:
        batches = Batches(TEXTS, Y, size=8, policy=policy, collate=collate, **options)
        return sum(int(LENGTHS[b.index].max() * len(b) - LENGTHS[b.index].sum()) for b in batches.epoch(0))

    least, some, most = padded(LengthBuckets()), padded(LengthBuckets(window=3)), padded(Shuffled())
    assert least < 0.25 * most
    assert least < some < most


def test_a_tokenizer_pads_less_in_buckets() -> None:
    def tokens(policy: Policy) -> int:
        batches = Batches(TEXTS, size=8, policy=policy, collate=words)
        return sum(batch.inputs["input_ids"].numel() for batch in batches.epoch(0))

    assert int(LENGTHS.sum()) <= tokens(LengthBuckets()) < 0.8 * tokens(Shuffled())


def test_balanced_is_balanced() -> None:
    batches = made(ClassBalanced())
    rows = torch.cat([batch.index for batch in batches.epoch(0)])
    most = int(Y.bincount().max())
    assert Y[rows].bincount().tolist() == [most] * 4
    assert set(rows.tolist()) == set(range(ROWS))
    for value in range(4):
        turns = Counter(rows[Y[rows] == value].tolist()).values()
        assert max(turns) - min(turns) <= 1
    for batch in batches.epoch(0):
        assert len(batch) < 8 or batch.labels.bincount(minlength=4).tolist() == [2, 2, 2, 2]


class Pairs(Dataset):
    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return X[row], int(Y[row])


class Named(Pairs):
    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"x": X[row], "label": int(Y[row])}


@dataclass
class Made(ModelOutput):
    x: Tensor | None = None
    labels: Tensor | None = None


class Again:
    """Batches that can be read again, of unknown number."""

    def __iter__(self) -> Any:
        return iter(CHUNKS)


CHUNKS = list(zip(X.split(8), Y.split(8), strict=True))
SOURCES: dict[str, Callable[[], Any]] = {
    "tuple of tensors": lambda: (X, Y),
    "tuple of arrays": lambda: (X.numpy().astype(np.float64), Y.numpy()),
    "tuple of lists": lambda: (X.tolist(), Y.tolist()),
    "int32 labels": lambda: (X, Y.int()),
    "columns": lambda: {"inputs": X, "labels": Y},
    "columns of numbers": lambda: {"a": X[:, 0], "b": X[:, 1], "label": Y},
    "TensorDataset": lambda: TensorDataset(X, Y),
    "Dataset of pairs": Pairs,
    "Dataset of dicts": Named,
    "list of rows": lambda: [(X[i], int(Y[i])) for i in range(ROWS)],
    "Batches": lambda: Batches(X, Y, size=8),
    "DataLoader": lambda: DataLoader(Pairs(), batch_size=8),
    "shuffled DataLoader": lambda: DataLoader(Pairs(), batch_size=8, shuffle=True),
    "list of tuples": lambda: CHUNKS,
    "list of dicts": lambda: [{"x": x, "labels": y} for x, y in CHUNKS],
    "list of ModelOutput": lambda: [Made(x=x, labels=y) for x, y in CHUNKS],
    "list of BatchEncoding": lambda: [BatchEncoding({"x": x, "labels": y}) for x, y in CHUNKS],
    "list of Batch": lambda: [Batch(x, y) for x, y in CHUNKS],
    "re-iterable": Again,
}


@pytest.mark.parametrize("name", SOURCES)
def test_whatever_a_user_has_becomes_the_same_batches(name: str) -> None:
    batches = as_batches(SOURCES[name]())
    for _ in range(2):
        found = list(batches)
        inputs = [next(iter(b.inputs.values())) if isinstance(b.inputs, dict) else b.inputs for b in found]
        assert torch.equal(torch.cat(inputs), X)
        assert torch.equal(torch.cat([batch.labels for batch in found]), Y)
        assert {batch.labels.dtype for batch in found} == {torch.int64}
        if name != "re-iterable":
            assert torch.equal(torch.cat([batch.index for batch in found]), torch.arange(ROWS))
    assert len(batches) == len(found)
    assert torch.equal(batches.labels(), Y)
    assert batches.count == ROWS
    assert sum(map(len, batches.epoch(1))) == ROWS
    read_again = [[b.labels.tolist() for b in batches.epoch(1, start=2)] for _ in range(2)]
    assert read_again[0] == read_again[1] == [b.labels.tolist() for b in batches.epoch(1)][2:]


def test_a_shuffling_loader_shuffles_from_the_seed() -> None:
    loader = DataLoader(Pairs(), batch_size=8, shuffle=True)
    batches = as_batches(loader, seed=1)
    assert batches.policy == Shuffled()
    assert order(batches, 0) == order(as_batches(loader, seed=1), 0) != order(batches, 1)


def test_a_loader_with_a_sampler_of_its_own_keeps_it() -> None:
    weights = [1.0 if label == 3 else 0.0 for label in Y.tolist()]
    loader = DataLoader(Pairs(), batch_size=8, sampler=WeightedRandomSampler(weights, 40))
    before = torch.get_rng_state()
    first, again, other = ([b.inputs.tolist() for b in as_batches(loader).epoch(e)] for e in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)
    assert all(batch.index is None and set(batch.labels.tolist()) == {3} for batch in as_batches(loader))


def test_a_collate_function_of_a_loader_is_kept() -> None:
    def join(rows: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
        return {"x": -torch.stack([x for x, _ in rows]), "labels": torch.tensor([y for _, y in rows])}

    batches = as_batches(DataLoader(Pairs(), batch_size=8, collate_fn=join))
    assert torch.equal(torch.cat([batch.inputs["x"] for batch in batches]), -X)


@pytest.mark.parametrize(
    "data",
    [
        {"text": TEXTS, "label": ["abcd"[y] for y in Y]},
        [{"text": text, "label": "abcd"[y]} for text, y in zip(TEXTS, Y.tolist(), strict=True)],
        (TEXTS, np.array(["abcd"[y] for y in Y])),
        [(text, "abcd"[y]) for text, y in zip(TEXTS, Y.tolist(), strict=True)],
    ],
    ids=["columns", "rows of dicts", "tuple", "rows of pairs"],
)
def test_texts_are_tokenised_and_names_become_classes(data: Any) -> None:
    batches = as_batches(data, collate=words, size=8)
    assert batches.classes == ("a", "b", "c", "d")
    for batch in batches.epoch(0):
        assert torch.equal(batch.labels, Y[batch.index])
        assert torch.equal(batch.inputs["attention_mask"].sum(1), LENGTHS[batch.index])
    balanced = batches.replace(policy=ClassBalanced(each=4))
    assert torch.cat([batch.labels for batch in balanced.epoch(0)]).bincount().tolist() == [4] * 4


def test_classes_of_the_training_data_number_the_test_data() -> None:
    train = as_batches({"text": TEXTS[:4], "label": ["b", "a", "c", "b"]})
    test = as_batches({"text": TEXTS[:2], "label": ["c", "c"]}, classes=train.classes)
    assert next(iter(test)).labels.tolist() == [2, 2]


def test_takes_says_which_column_is_what() -> None:
    columns = {
        "ids": X.long(),
        "mask": torch.ones_like(X),
        "topic": Y,
        "note": ["n"] * ROWS,
        "a": X[:, 0],
        "b": X[:, 1],
    }
    by_name = next(iter(as_batches(columns, {"labels": "topic", "input_ids": "ids", "attention_mask": "mask"})))
    assert set(by_name.inputs) == {"input_ids", "attention_mask"}
    assert torch.equal(next(iter(as_batches(columns, {"labels": "topic", "inputs": "mask"}))).inputs, torch.ones(32, 2))
    assert torch.equal(next(iter(as_batches(columns, {"labels": "topic", "inputs": ["a", "b"]}))).inputs, X[:32])
    assert next(iter(as_batches(columns, {"labels": None, "inputs": "note"}))).labels is None
    many = [{"x": x, "topic": y} for x, y in CHUNKS]
    assert torch.equal(next(iter(as_batches(many, {"labels": "topic"}))).labels, Y[:8])


def test_floats_stay_numbers_to_be_met() -> None:
    assert next(iter(as_batches((X, X[:, :1].double())))).labels.dtype == torch.float64
    assert next(iter(as_batches((X.numpy().astype(np.float64), Y)))).inputs.dtype == torch.float32


def test_a_generator_is_read_once_where_once_is_enough() -> None:
    batches = as_batches((chunk for chunk in CHUNKS), once=True)
    assert torch.equal(torch.cat([batch.labels for batch in batches]), Y)
    with pytest.raises(DataError, match="read already"):
        list(batches)


class Nothing(IterableDataset):
    def __iter__(self) -> Any:
        return iter(())


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "missing column": (lambda: as_batches({"text": TEXTS, "y": Y}, {"labels": "topic"}), "'topic'.*'text', 'y'"),
    "missing column in a batch": (lambda: list(as_batches([{"x": X}], {"labels": "z"})), "no column 'z'.*'x'"),
    "which column": (lambda: as_batches({"text": TEXTS, "title": TEXTS, "label": Y}), "'text', 'title'"),
    "takes without names": (lambda: as_batches((X, Y), {"labels": "y"}), "has none"),
    "takes twice": (lambda: as_batches({"a": X, "b": X}, {"inputs": "a", "mask": "b"}), "beside it"),
    "only labels": (lambda: as_batches({"label": Y}), "no column beside"),
    "generator": (lambda: as_batches(c for c in CHUNKS), "generator can be read only once"),
    "iterator": (lambda: as_batches(iter(CHUNKS)), "can be read only once"),
    "empty tensors": (lambda: as_batches((X[:0], Y[:0])), "empty"),
    "empty list": (lambda: as_batches([]), "empty"),
    "empty columns": (lambda: as_batches({}), "no column|empty"),
    "empty dataset": (lambda: as_batches(TensorDataset(X[:0])), "empty"),
    "empty re-iterable": (lambda: list(as_batches(Nothing())), "empty"),
    "lengths": (lambda: as_batches((X, Y[:5])), "inputs has 103, labels has 5"),
    "three": (lambda: as_batches((X, X, Y)), "tuple of 3"),
    "no data": (lambda: as_batches(5), "int is no data"),
    "one text": (lambda: as_batches("reviews"), "str is no data"),
    "unknown class": (lambda: as_batches((TEXTS[:1], ["z"]), classes=("a", "b")), "'z' is no class here.*'a', 'b'"),
    "number beyond classes": (lambda: as_batches((X, Y), classes=("a", "b")), "label is 3, and there are 2"),
    "mixed labels": (lambda: as_batches((X[:2], ["a", 1.5])), "all numbers or all names|is no"),
    "named batches": (lambda: list(as_batches([(X[:2], ["a", "b"])])), "classes="),
    "size of made batches": (lambda: as_batches(CHUNKS, size=4), "made already"),
    "no labels to balance": (lambda: len(Batches(X, policy=ClassBalanced())), "needs labels"),
    "numbers to balance": (lambda: len(Batches(X, X[:, 0], policy=ClassBalanced())), "one class a row"),
    "no lengths": (lambda: list(Batches(X, policy=LengthBuckets()).epoch(0)), "lengths="),
    "other lengths": (lambda: Batches(X, lengths=[1, 2]), "2 lengths for 103"),
    "size": (lambda: Batches(X, size=0), "size 0"),
    "seed": (lambda: list(Batches(X, seed=-1).epoch(0)), "-1"),
    "ragged": (lambda: list(Batches([X[0], X[0, :1]])), "no batch"),
    "tables": (lambda: as_batches({"train": type("T", (), {"column_names": []})()}), "whole tables"),
    "labels twice": (lambda: Batches(Pairs(), Y), "items of a Dataset hold the labels"),
    "policy": (lambda: ClassBalanced(each=0), "each=0"),
    "window": (lambda: LengthBuckets(window=0), "window=0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_data_gets_one_sentence(name: str) -> None:
    make, says = REFUSED[name]
    with pytest.raises(DataError) as caught:
        make()
    assert re.search(says, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def write(folder: Path, kind: str, table: dict[str, list[Any]]) -> Path:
    path = folder / f"table.{kind}"
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table(table), path)
    else:
        np.savez(path, **{name: np.array(values) for name, values in table.items()})
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "npz"])
def test_every_kind_of_table_reads_the_same(tmp_path: Path, kind: str) -> None:
    table: dict[str, list[Any]] = {
        "text": ['one, "quoted"', "zwei\nlines", "три"], "label": ["b", "a", "b"], "count": [1, 2, -3],
        "score": [0.5, 1.0, 2e3],
    }  # fmt: skip
    found = read(write(tmp_path, kind, table))
    assert list(found) == list(table)
    assert found["text"] == table["text"]
    assert found["count"].tolist() == table["count"]
    assert found["count"].dtype == torch.int64
    assert torch.equal(found["score"], torch.tensor(table["score"]))
    batch = next(iter(as_batches(found, {"inputs": "text", "labels": "label"})))
    assert batch.labels.tolist() == [1, 0, 1]


def test_an_image_folder_is_classes_of_images(tmp_path: Path) -> None:
    from PIL import Image

    drawn = random.Random(0)
    pixels = {name: np.array([drawn.randrange(256) for _ in range(48)], np.uint8).reshape(4, 4, 3) for name in "abc"}
    for name, label in {"a": "cat", "b": "dog", "c": "cat"}.items():
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(pixels[name]).save(tmp_path / label / f"{name}.png")
    batches = as_batches(read(tmp_path))
    batch = next(iter(batches))
    assert batches.classes == ("cat", "dog")
    assert batch.labels.tolist() == [0, 0, 1]
    assert torch.equal(batch.inputs[1], torch.from_numpy(pixels["c"]).permute(2, 0, 1) / 255)
    assert next(iter(as_batches(read(tmp_path, size=(2, 6), channels=1)))).inputs.shape == (3, 1, 2, 6)
    (tmp_path / "dog" / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read as an image"):
        list(as_batches(read(tmp_path)))


@pytest.mark.parametrize(("name", "columns"), [("digits", {"image", "label"}), ("docstrings", {"text", "label"})])
def test_built_in_data_has_a_name(name: str, columns: set[str]) -> None:
    assert set(read(name)) == set(read(f"{name}:test")) == columns
    assert len(read(name)["label"]) > len(read(f"{name}:test")["label"])


def test_a_function_of_ones_own_is_a_data_set() -> None:
    assert len(read("acclimate.bench.digits:columns")["label"]) == 1197


FILES: dict[str, tuple[str, bytes | None, str]] = {
    "no file": ("none.csv", None, "there is no file"),
    "another kind": ("table.xls", b"x", "'.xls'"),
    "empty": ("table.csv", b"", "name every column|empty"),
    "header alone": ("table.csv", b"a,b\n", "empty"),
    "short line": ("table.csv", b"a,b\n1,2\n3\n", "line 3 of .* has 1 fields"),
    "names twice": ("table.csv", b"a,a\n1,2\n", "each differently"),
    "a number missing": ("table.csv", b"a,b\n1,2\n,4\n", "line 3 of .* has no 'a'"),
    "not utf-8": ("table.csv", b"a\n\xff\xfe\n", "no CSV"),
    "no JSON": ("table.jsonl", b'{"a": 1}\n{"a": \n', "line 2 of .* no JSON"),
    "a list": ("table.jsonl", b"[1]\n", "line 1 of .* is a list"),
    "other names": ("table.jsonl", b'{"a": 1}\n{"b": 1}\n', "line 2 of .* differ in 'a'"),
    "a null": ("table.jsonl", b'{"a": 1}\n{"a": null}\n', "row 1 of column 'a'"),
    "no Parquet": ("table.parquet", b"PAR1", "no Parquet file"),
    "no npz": ("table.npz", b"PK no", "no npz"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files_get_one_sentence(tmp_path: Path, name: str) -> None:
    file, content, says = FILES[name]
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=says):
        read(str(tmp_path / file))


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="plain arrays"):
        read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("digitz", "digits, docstrings"),
        ("acclimate.bench.digits:nothing", "no function"),
        ("no.such.module:f", "installed|datasets"),
    ],
)
def test_unknown_names_are_refused(source: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(source)


def test_a_folder_without_images_or_with_loose_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image"):
        read(tmp_path)
    from PIL import Image

    (tmp_path / "a").mkdir()
    for place in ("a/1.png", "2.png"):
        Image.new("L", (2, 2)).save(tmp_path / place)
    with pytest.raises(DataError, match="1 images lie in"):
        read(tmp_path)
