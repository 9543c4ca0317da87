"""The table of GPUs and the share of their peak, by hand."""

import pytest
import torch

from talweg.train import gpus, mfu
from talweg.train.config import build

WORKED_CASE = {  # 12 layers of 384, tied head of 50,304 words, no bias: 12 x 12 x 384^2 + 50,304 x 384 + norms
    "run.steps": 1,
    "batch.tokens_per_step": 524_288,
    "model.preset": "nanogpt",
    "model.layers": 12,
    "model.heads": 12,
    "model.width": 384,
    "model.context": 1024,
    "model.vocabulary_size": 50304,
}


@pytest.mark.parametrize(
    ("name", "precision", "teraflops"),
    [  # as NVIDIA prints them, dense, accumulated in fp32
        ("NVIDIA GeForce RTX 4070", "bf16", 58.3),
        ("NVIDIA GeForce RTX 4070", "fp32", 29.15),
        ("NVIDIA GeForce RTX 4070 SUPER", "fp16", 71.0),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("NVIDIA GeForce RTX 4080", "bf16", 97.5),
        ("NVIDIA GeForce RTX 3090", "bf16", 71.2),
        ("NVIDIA GeForce RTX 3080", "tf32", 29.8),
        ("NVIDIA GeForce RTX 3060", "fp32", 12.74),
        ("NVIDIA GeForce RTX 2080 Ti", "fp16", 53.8),
        ("NVIDIA TITAN RTX", "fp16", 130.5),
        ("NVIDIA GeForce RTX 5090", "bf16", 209.5),
        ("NVIDIA GeForce RTX 5080", "fp32", 56.3),
        ("NVIDIA RTX A6000", "bf16", 154.8),
        ("NVIDIA RTX 6000 Ada Generation", "bf16", 364.2),
        ("Tesla T4", "fp16", 65.1),
        ("Tesla V100-SXM2-16GB", "fp16", 125),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA A100-SXM4-40GB", "bf16", 312),
        ("NVIDIA A100 80GB PCIe", "tf32", 156),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.5),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA L4", "bf16", 121),
        ("NVIDIA L40S", "bf16", 362),
    ],
)
def test_the_table_gives_the_figures_that_are_published(name: str, precision: str, teraflops: float) -> None:
    card = gpus.find(name)
    assert card is not None
    assert card.of(precision) == pytest.approx(teraflops, rel=0.002)
    assert card.source


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 2080 Ti", "Tesla V100-PCIE-32GB", "Tesla T4"])
def test_cards_before_2020_have_no_bf16(name: str) -> None:
    card = gpus.find(name)
    assert card is not None
    assert card.bf16 is None
    assert card.tf32 is None


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4070 Laptop GPU", "NVIDIA GeForce GTX 1080", "L40 2", ""])
def test_another_card_of_a_similar_name_is_not_in_the_table(name: str) -> None:
    assert gpus.find(name) is None


def test_what_a_token_costs_by_hand() -> None:
    config = build(WORKED_CASE)
    weights = 12 * 12 * 384**2 + 50304 * 384 + 25 * 384
    assert mfu.flops_per_token(config) == 6 * weights + 12 * 12 * 384 * 1024
    assert mfu.flops_per_token(config, causal=True) == 6 * weights + 6 * 12 * 384 * 1024


def test_an_embedding_apart_from_the_head_is_not_counted() -> None:
    apart = build({**WORKED_CASE, "model.tied_head": False})
    assert mfu.flops_per_token(apart) == mfu.flops_per_token(build(WORKED_CASE))


@pytest.mark.parametrize(("of_an_a100", "of_a_4070"), [(0.10, 0.535), (0.12, 0.642)])
def test_a_tenth_of_an_a100_is_half_of_a_4070(of_an_a100: float, of_a_4070: float) -> None:
    config, card = build(WORKED_CASE), gpus.find("NVIDIA GeForce RTX 4070")
    assert card is not None
    assert card.bf16 is not None
    pace = of_an_a100 * 312e12 / mfu.flops_per_token(config)  # what nanoGPT's line meant: it knows the A100 only
    share = mfu.utilisation(config, pace, mfu.Peak(card.bf16 * 1e12, card.source))
    assert share == pytest.approx(of_a_4070, abs=0.001)


def test_a_card_that_is_known_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA GeForce RTX 4070")
    peak = mfu.peak("cuda", "bf16")
    assert peak.flops == pytest.approx(58.3e12, rel=0.001)
    assert peak.source.startswith("NVIDIA GeForce RTX 4070, dense bf16 accumulated in fp32: computed, half rate")


def test_a_cpu_is_measured() -> None:
    peak = mfu.peak("cpu", "fp32")
    assert 1e8 < peak.flops < 1e14
    assert "1024 x 1024 matrix products in fp32, measured" in peak.source
