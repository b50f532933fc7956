"""Laws of the data that every machine has, and of the network that ships."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import partial

import pytest
import torch

from acclimate.bench import convnet, minilm
from acclimate.bench.conditions import CONDITIONS, Stream, shifted_pair, stream
from acclimate.bench.convnet import CHECKPOINT, DigitsNet, accuracy, pretrained, stated
from acclimate.bench.digits import digits
from acclimate.bench.docstrings import Texts, docstrings
from acclimate.bench.minilm import encode_texts
from acclimate.data import Batches, LengthBuckets, Shuffled, generator

CHANGING = [name for name in CONDITIONS if name != "clean"]


def test_digits_are_whole_and_split_once() -> None:
    (train, train_labels), (test, test_labels) = digits("train"), digits("test")
    assert len(train) + len(test) == 1797
    assert train.min() == test.min() == 0
    assert train.max() == test.max() == 1
    assert train_labels.unique().tolist() == test_labels.unique().tolist() == list(range(10))
    seen = {image.numpy().tobytes() for image in train}
    assert not any(image.numpy().tobytes() in seen for image in test)
    with pytest.raises(ValueError, match="'train' and 'test'"):
        digits("valid")  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CHANGING)
def test_conditions_change_images_more_and_more_and_are_reproducible(name: str, channels: int) -> None:
    images = digits("test")[0][:64].expand(-1, channels, -1, -1)
    before = images.clone()
    change = CONDITIONS[name]
    assert torch.allclose(change(images, 0.0, generator(0)), images, atol=1e-6)
    moved = [(change(images, severity, generator(0)) - images).abs().mean().item() for severity in (0.3, 0.6, 1.0)]
    assert 0.005 < moved[0] < moved[1] < moved[2]
    found = change(images, 0.6, generator(0))
    assert torch.equal(found, change(images, 0.6, generator(0)))
    assert found.shape == images.shape
    assert 0 <= found.min() <= found.max() <= 1
    assert torch.equal(images, before)
    if name in ("noise", "occlusion"):
        assert not torch.equal(found, change(images, 0.6, generator(1)))


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_a_stream_meets_every_image_under_every_condition(order: str) -> None:
    moments = list(stream(order, size=64, seed=2))  # type: ignore[arg-type]
    labels = digits("test")[1]
    assert list(dict.fromkeys(moment.condition for moment in moments)) == list(CONDITIONS)
    assert list(CONDITIONS)[-1] == "clean"
    assert len(stream(order, size=64)) == len(moments)  # type: ignore[arg-type]
    for name in CONDITIONS:
        seen = torch.cat([moment.labels for moment in moments if moment.condition == name])
        assert torch.equal(seen.bincount(), labels.bincount())
        assert bool((seen.diff() >= 0).all()) == (order == "sorted")
    for one, again in zip(moments, stream(order, size=64, seed=2), strict=True):  # type: ignore[arg-type]
        assert torch.equal(one.images, again.images)
    other = next(iter(stream(order, size=64, seed=3)))  # type: ignore[arg-type]
    assert not torch.equal(moments[0].images, other.images)


def test_a_clean_stream_shows_each_image_beside_its_own_label() -> None:
    images, labels = digits("test")
    for moment in Stream(images, labels, conditions=("clean",)):
        for image, label in zip(moment.images, moment.labels, strict=True):
            assert label in labels[(images == image).flatten(1).all(1)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"conditions": ("fog",)}, "no condition"), ({"order": "random"}, "not 'random'"), ({"severity": 2}, "0 to 1")],
)
def test_a_stream_that_cannot_be_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Stream(*digits("test"), **changes)  # type: ignore[arg-type]


def test_a_pair_shows_the_target_no_source_image_and_no_test_image() -> None:
    pair = shifted_pair({"clean": 1.0})
    sides = [{image.numpy().tobytes() for image in images} for images, _ in (pair.source, pair.target, pair.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    shifted = shifted_pair()
    assert torch.equal(shifted.target[1], pair.target[1])
    assert (shifted.target[0] - pair.target[0]).abs().mean() > 0.1
    assert torch.equal(shifted.target[0], shifted_pair().target[0])


def test_the_checkpoint_is_the_file_it_says() -> None:
    assert CHECKPOINT.stat().st_size == stated()["bytes"] < 200_000
    assert hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest() == stated()["sha256"]


@pytest.mark.parametrize("severity", ["0.6", "1.0"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_the_checkpoint_reaches_what_it_says(severity: str, name: str) -> None:
    images, labels = digits("test")
    found = accuracy(pretrained(), CONDITIONS[name](images, float(severity), generator(0)), labels)
    assert found == pytest.approx(
        stated()["accuracy"][severity][name], abs=3 / len(labels)
    )  # a few rows are near a tie


def test_the_stated_accuracies_are_high_when_clean_and_low_under_several_conditions() -> None:
    found = stated()["accuracy"]["0.6"]
    assert found["clean"] >= 0.97
    assert sum(found[name] < found["clean"] - 0.2 for name in CHANGING) >= 4
    written = re.findall(r"^(\w+) +([\d.]+) +([\d.]+)$", convnet.__doc__ or "", re.M)
    assert {name: (float(a), float(b)) for name, a, b in written} == {
        name: (round(100 * found[name], 1), round(100 * stated()["accuracy"]["1.0"][name], 1)) for name in CONDITIONS
    }


def test_the_network_has_norms_and_a_head() -> None:
    from acclimate.sites import everywhere

    roles = Counter(site.role for site in everywhere(DigitsNet()))
    assert roles["head"] >= 1
    assert roles["norm"] >= 3


@pytest.fixture(scope="module")
def texts() -> tuple[Texts, Texts]:
    return docstrings("train"), docstrings("test")


def test_docstrings_are_many_and_split_by_file(texts: tuple[Texts, Texts]) -> None:
    train, test = texts
    assert len(train) + len(test) >= 2000
    assert len(train.classes) >= 8
    assert not set(train.files) & set(test.files)
    every = [text.lower() for text in train.texts + test.texts]
    assert len(set(every)) == len(every)
    assert min(map(len, every)) >= 40
    for side, least in ((train, 30), (test, 10)):
        counts = Counter(side.labels)
        assert set(counts) == set(range(len(train.classes)))
        assert min(counts.values()) >= least
        assert len(side.texts) == len(side.labels) == len(side.files)


def test_docstrings_are_neither_trivial_nor_noise(texts: tuple[Texts, Texts]) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, test = texts
    majority = max(Counter(test.labels).values()) / len(test)
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10, max_iter=300))
    found = model.fit(train.texts, train.labels).score(test.texts, test.labels)
    assert majority < 0.25
    assert majority + 0.15 < found < 0.8


def test_minilm_reads_texts_alike_in_any_company(texts: tuple[Texts, Texts]) -> None:
    model, tokenizer = minilm.minilm()
    assert not model.training
    assert 22e6 < sum(p.numel() for p in model.parameters()) < 23e6
    some = list(texts[1].texts[:6])
    with torch.no_grad():
        together = model(**encode_texts(tokenizer, some)).last_hidden_state[:, 0]
        alone = torch.cat([model(**encode_texts(tokenizer, [text])).last_hidden_state[:, 0] for text in some])
    assert torch.allclose(together, alone, atol=1e-5)
    assert encode_texts(tokenizer, some, max_length=8)["input_ids"].shape == (6, 8)


def test_buckets_pad_real_prose_less(texts: tuple[Texts, Texts]) -> None:
    collate = partial(encode_texts, minilm.minilm()[1])

    def masked(policy: Shuffled | LengthBuckets) -> int:
        batches = Batches(texts[1].texts, size=32, policy=policy, collate=collate)
        return sum(int((batch.inputs["attention_mask"] == 0).sum()) for batch in batches.epoch(0))

    assert masked(LengthBuckets()) < 0.2 * masked(Shuffled())


def test_without_its_package_minilm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package")
    with pytest.raises(ImportError, match=re.escape("acclimate[text]")):
        minilm.minilm()
