"""What a run tells of its text: documents without a hit in train, the manifest's counts, the order that was read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from talweg.configs import read_facts
from talweg.corpus import manifest as manifests
from talweg.corpus.manifest import Overlap, Quality, Side
from talweg.corpus.shards import open_split
from talweg.errors import InputError
from talweg.readers import read
from talweg.run import FACT_NAMES
from talweg.train import checkpoint as checkpoints
from talweg.train import evaluate
from talweg.train.config import Config
from talweg.train.loop import train
from talweg.train.retention import Retention
from talweg.train.start import begin
from talweg.train.update import accumulate

from .test_loop import log, measured, run_until, same, weights

Make = Callable[..., Config]
SHARES = [0.0, 0.4, np.nan, 0.0, 1.0, 0.1, 0.0, 0.0, 0.2, 0.0, 0.0]  # of the 11 documents of val
CLEAN = [0, 2, 3, 6, 7, 9, 10]


@pytest.fixture
def with_overlap(data: Path, tmp_path: Path) -> Callable[[list[float]], Path]:
    """A copy of the data folder that knows the overlap of each document of val."""

    def make(shares: list[float]) -> Path:
        folder = tmp_path / "overlapping"
        folder.mkdir(exist_ok=True)
        for file in data.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        manifest = manifests.read(folder)
        np.save(folder / "val-00000.overlap.npy", np.array(shares, dtype=np.float32))
        shard = replace(manifest.val.shards[0], overlap_file="val-00000.overlap.npy", overlap_sha256="")
        val: Side = replace(manifest.val, shards=(shard,))
        side = replace(manifest.train, near_unique_tokens=900, largest_token_id=256, tokens_by_length=(0, 10, 30))
        quality = Quality((), 130, 4000, 10, 500)
        overlap = Overlap(4, 300, 3, 1000, 125)
        manifests.write(folder, replace(manifest, train=side, val=val, quality=quality, overlap=overlap))
        return folder

    return make


def test_the_loss_without_hits_is_the_mean_over_the_tokens_of_clean_documents(
    configured: Make, with_overlap: Callable[[list[float]], Path]
) -> None:
    data = with_overlap(SHARES)
    config = configured(run__name="a", data__path=str(data), model__initialisation="gpt2", optimizer__peak_lr=0.01)
    records = [r for r in train(config) if "val_loss" in r]
    plan, training, _ = begin(config)  # the weights after the last step
    losses: dict[int, list[float]] = {}
    training.model.eval()
    with torch.no_grad():
        for inputs, targets, document in zip(plan.val.inputs, plan.val.targets, plan.val.document, strict=True):
            nats = training.model.losses(torch.tensor(inputs)[None], torch.tensor(targets)[None])[0]
            for loss, target, d in zip(nats.tolist(), targets, document.tolist(), strict=True):
                if target >= 0:
                    losses.setdefault(d, []).append(loss)
    clean = np.concatenate([losses[d] for d in CLEAN])
    deviations = [np.sum(np.array(losses[d]) - clean.mean()) for d in CLEAN]
    assert records[-1]["val_loss_clean"] == pytest.approx(clean.mean(), rel=1e-5)
    by_hand = np.sqrt(7 / 6 * np.square(deviations).sum()) / clean.size
    assert records[-1]["val_clean_standard_error"] == pytest.approx(by_hand, rel=1e-4)
    assert records[-1]["val_clean_share"] == pytest.approx(clean.size / sum(map(len, losses.values())))
    assert records[-1]["val_loss"] == pytest.approx(np.concatenate(list(losses.values())).mean(), rel=1e-5)
    run = read(config.run.out / "a" / "log.jsonl")
    assert run.val_loss_clean.value.tolist() == [r["val_loss_clean"] for r in records]
    assert run.val_loss_clean.step.tolist() == [0, 4, 8, 12]


@pytest.mark.parametrize("shares", [[0.0] * 10 + [np.nan], [0.5] * 11])
def test_where_all_documents_are_alike_nothing_is_compared(
    configured: Make, with_overlap: Callable[[list[float]], Path], shares: list[float]
) -> None:
    config = configured(run__name="a", data__path=str(with_overlap(shares)))
    assert not any("val_loss_clean" in record for record in train(config))


def test_overlap_that_is_not_known(data: Path) -> None:
    split = open_split(data, "val")
    assert split.overlap is None
    assert evaluate.text(split, 32, 10**9).clean is None


def test_overlap_of_other_documents_is_refused(with_overlap: Callable[[list[float]], Path]) -> None:
    data = with_overlap(SHARES)
    split = open_split(data, "val")
    assert split.overlap is not None
    assert np.array_equal(split.overlap, np.array(SHARES, dtype=np.float32), equal_nan=True)
    np.save(data / "val-00000.overlap.npy", np.zeros(10, dtype=np.float32))
    with pytest.raises(InputError, match="holds 10 numbers of float32, the manifest says 11 of float32"):
        open_split(data, "val")
    (data / "val-00000.overlap.npy").unlink()
    with pytest.raises(InputError, match=r"val-00000\.overlap\.npy is missing"):
        open_split(data, "val")


def test_the_facts_of_a_run_are_those_of_its_manifest(
    configured: Make, with_overlap: Callable[[list[float]], Path]
) -> None:
    data = with_overlap(SHARES)
    config = configured(run__name="a", data__path=str(data))
    list(train(config))
    logged = read(config.run.out / "a" / "log.jsonl").facts
    stated = read_facts(data / "manifest.json")
    known = [name for name in FACT_NAMES if getattr(stated, name) is not None and name != "vocabulary_size"]
    assert {"train_tokens", "near_unique_tokens", "largest_token_id", "tokens_by_length"} <= set(known)
    assert {name: getattr(logged, name) for name in known} == {name: getattr(stated, name) for name in known}
    assert (logged.val_overlap_share, logged.noisy_share) == (0.125, 0.125)
    assert logged.tokens_by_length == (0.0, 0.25, 0.75)


@pytest.mark.parametrize(("order", "words"), [(None, "an order without a name"), ("ring-0", "the order ring-0")])
def test_a_run_does_not_go_on_in_another_order_of_the_text(configured: Make, order: str | None, words: str) -> None:
    config = configured(run__name="a")
    run_until(config, 5)
    folder = config.run.out / "a"
    saved = checkpoints.load(checkpoints.find(folder))
    assert saved.state["order"] == "documents-1"
    state = {key: value for key, value in saved.state.items() if key != "order"} | ({"order": order} if order else {})
    checkpoints.save(folder, replace(saved, state=state), Retention(1))
    with pytest.raises(InputError) as caught:
        list(train(config))
    assert str(caught.value) == (
        f"{folder} has read its text in {words}, this version reads it in the order documents-1: finish the run with "
        f"the version that began it (Talweg {state['talweg']}), or give another run.name"
    )


def test_a_run_with_a_document_mask_learns_otherwise_and_resumes_exactly(configured: Make) -> None:
    plain, straight, broken = (
        configured(run__name=name, model__document_mask=mask)
        for name, mask in (("plain", False), ("straight", True), ("broken", True))
    )
    list(train(plain))
    list(train(straight))
    run_until(broken, 5)
    list(train(broken))
    assert same(weights(straight, 12), weights(broken, 12))
    assert measured(log(straight)) == measured(log(broken))
    assert not same(weights(plain, 12), weights(straight, 12))


def test_training_and_evaluation_give_the_mask_to_the_model(configured: Make) -> None:
    """The loss of both is that of the model with the documents, and another one without them."""
    config = configured(run__name="a", model__document_mask=True, model__dropout=0.0, model__initialisation="gpt2")
    plan, training, _ = begin(config)
    for p in training.model.parameters():  # else nothing depends on the context
        torch.nn.init.normal_(p, std=0.3)
    batch = plan.windows.batch(0, 8)
    tensors = [torch.from_numpy(a) for a in (batch.inputs, batch.targets, batch.document)]
    with torch.no_grad():
        masked, plain = (float(training.model.losses(*t).mean()) for t in (tensors, tensors[:2]))
        val = [torch.from_numpy(a) for a in (plan.val.inputs, plan.val.targets, plan.val.document)]
        evaluated = float(training.model.losses(*val).sum()) / plan.val.num_tokens
    loss = accumulate(training, plan.config, plan.windows).loss
    assert loss == pytest.approx(masked, rel=1e-5)
    assert loss != pytest.approx(plain, rel=1e-3)
    found = evaluate.evaluate(training.model, plan.val, training.ranks, lambda: torch.autocast("cpu", enabled=False))
    assert found.value == pytest.approx(evaluated, rel=1e-4)


def test_a_run_does_not_go_on_with_another_mask(configured: Make) -> None:
    run_until(configured(run__name="a"), 5)
    with pytest.raises(InputError, match=r"another model \(model.document_mask False -> True\); give another run.name"):
        list(train(configured(run__name="a", model__document_mask=True)))
