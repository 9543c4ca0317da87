"""Trains the small models that the expected loss is calibrated on.

    python bench/small_models.py PARQUET OUT [--only TEXT] [--gpt2 R50K_BASE.TIKTOKEN]

Sizes of 0.25 to 3 M weights, tokens a parameter from 1 to 8, several tokenizers, two recipes. One line of JSON for each
run in OUT/results.jsonl; a run that stands there is not trained again. The record of the last run, and what was made of
it, is notes/small_models.md. Not a part of the tests: half an hour of one CPU core.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TALWEG = Path(sys.executable).parent / "talweg"
TOKENIZERS = {
    "bytes": ["--tokenizer", "bytes"],
    "bpe1024": ["--vocabulary-size", "1024"],
    "bpe4096": ["--vocabulary-size", "4096"],
    "gpt2": ["--tokenizer", "gpt2"],
}
SHAPES = {"0.25M": (2, 2, 96), "0.8M": (4, 2, 128), "2.7M": (6, 3, 192)}  # layers, heads, width; without embeddings
RECIPES: dict[str, list[str]] = {
    "default": [],
    # nanoGPT's form and optimizer, the warm-up left to auto: 100 steps are more than some of these runs have
    "classic": [
        *("--model.preset=nanogpt", "--optimizer.name=adamw", "--schedule.kind=cosine", "--optimizer.beta2=0.99"),
        *("--optimizer.peak_lr=1e-3", "--schedule.min_lr=1e-4", "--batch.tokens_per_step=4096"),
    ],
}
# The cheap ones first, so that an early stop leaves every tokenizer covered: tokenizer, shape, recipe, tokens.
RUNS = [
    ("bytes", "0.25M", "default", 0.3e6),
    ("bytes", "0.25M", "default", 2e6),
    ("bpe1024", "0.25M", "default", 0.3e6),
    ("bpe1024", "0.25M", "default", 2e6),
    ("bpe4096", "0.25M", "default", 0.6e6),
    ("gpt2", "0.25M", "default", 0.5e6),
    ("bytes", "0.8M", "default", 0.8e6),
    ("bpe1024", "0.8M", "default", 0.8e6),
    ("bytes", "0.25M", "classic", 1e6),
    ("bpe1024", "0.25M", "classic", 1e6),
    ("bytes", "2.7M", "default", 0.6e6),
    ("bpe1024", "2.7M", "default", 0.6e6),
    ("bpe4096", "2.7M", "default", 0.6e6),
    ("bpe1024", "0.8M", "classic", 0.8e6),
    ("bytes", "0.8M", "default", 3e6),
    ("bpe4096", "0.25M", "default", 3e6),
    ("bpe1024", "0.8M", "default", 3e6),
    ("bpe4096", "0.8M", "classic", 1.5e6),
    ("gpt2", "0.25M", "default", 1.5e6),
    ("bytes", "2.7M", "default", 3e6),
    ("bpe1024", "0.25M", "default", 5e6),
]


def prepared(parquet: Path, out: Path, tokenizer: str) -> Path:
    data = out / tokenizer
    if not (data / "manifest.json").exists():
        plain = ["--no-near", "--no-quality", "--workers", "1", "--val-tokens", "300000"]
        command = [TALWEG, "prepare", parquet, "--out", data, *plain, *TOKENIZERS[tokenizer]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return data


def trained(out: Path, data: Path, tokenizer: str, shape: str, recipe: str, tokens: float) -> dict[str, Any]:
    """The last evaluation, over 65,536 fixed tokens, beside the facts that the expected loss is made of."""
    name = f"{tokenizer}-{shape}-{recipe}-{tokens:.0f}"
    layers, heads, width = SHAPES[shape]
    command = [
        *(str(TALWEG), "train", str(out / "config.toml"), f"--run.name={name}", f"--run.out={out / 'runs'}"),
        *(f"--data.path={data}", f"--run.tokens={tokens:.0f}", "--evaluation.tokens=65536", "--hardware.threads=1"),
        *(f"--model.layers={layers}", f"--model.heads={heads}", f"--model.width={width}"),
        *("--evaluation.diagnose=false", "--evaluation.every=1000000", "--run.seed=1", *RECIPES[recipe]),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (out / "runs" / name / "log.jsonl").read_text().splitlines()]
    last = [r for r in records if "val_loss" in r][-1]
    return {
        **{"tokenizer": tokenizer, "shape": shape, "recipe": recipe, "tokens": tokens, "steps": last["step"]},
        **{"val": last["val_loss"], "train": last.get("train_eval_loss"), "bits": last.get("val_bits_per_byte")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parquet", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="runs whose tokenizer-shape-recipe-tokens holds this text")
    parser.add_argument("--gpt2", default="gpt2", help="the file of GPT-2's ranks, where there is no network")
    arguments = parser.parse_args()
    TOKENIZERS["gpt2"] = ["--tokenizer", arguments.gpt2]
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text("[run]\n")
    results = out / "results.jsonl"
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    for run in RUNS:
        name = f"{run[0]}-{run[1]}-{run[2]}-{run[3]:.0f}"
        if arguments.only in name and run not in [(d["tokenizer"], d["shape"], d["recipe"], d["tokens"]) for d in done]:
            measured = trained(out, prepared(arguments.parquet, out, run[0]), *run)
            print(json.dumps(measured), flush=True)
            with results.open("a") as file:
                file.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
