"""Commands about a trained model: eval."""

import sys
from pathlib import Path
from typing import Literal


def evaluate(
    checkpoint: Path,
    /,
    *,
    data: Path | None = None,
    tokenizer: str | None = None,
    context: int | None = None,
    average: bool = False,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    format: Literal["text", "json"] = "text",
    documents: Path | None = None,
) -> int:
    """Measure a model on a whole validation text.

    Loss and bits per byte with 80 % intervals, by place in the window, and by how often train holds a token.

    Args:
        checkpoint: a run folder, a checkpoint, nanoGPT's ckpt.pt, or an HF folder
        data: a folder of talweg prepare; left out, the one the run was trained on
        tokenizer: of the model, where no tokenizer.json lies beside it: gpt2, or a path
        context: tokens of a window; left out, the model's own
        average: the moving average of the weights (optimizer.average_decay) in place of the weights
        precision: of the matrix products
        device: where to compute; auto is the fastest that is here
        format: of the answer
        documents: a file (.npz) for the loss of every document, to compare models in pairs
    """
    from talweg.progress import Stages
    from talweg.train import details
    from talweg.train.assess import assess, to_json, to_text

    with Stages({"evaluating": "windows"}) as stages:
        found, by_document = assess(
            checkpoint,
            data,
            tokenizer=tokenizer,
            context=context,
            average=average,
            device=device,
            precision=precision,
            progress=stages.update,
        )
    if documents is not None:
        details.save(documents, by_document)
    if format == "json":
        import json

        print(json.dumps(to_json(found), indent=1, allow_nan=False))
    else:
        print(to_text(found))
    sys.stdout.flush()
    return 0
