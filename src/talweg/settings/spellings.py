"""How trainers spell their settings, and what those mean where no kind of configuration knows better."""

from talweg.run import Facts
from talweg.settings.documents import Settings, number
from talweg.settings.stating import Named, Stating, batch, precision_of

# fact <- spellings, the surest first
SPELLINGS: dict[str, tuple[str, ...]] = {
    "parameters": ("parameters", "num_parameters", "n_params", "num_params", "total_parameters", "total_params"),
    "layers": ("n_layer", "n_layers", "num_layers", "num_hidden_layers", "layers", "depth"),
    "heads": ("n_head", "n_heads", "num_heads", "num_attention_heads", "heads"),
    "width": ("n_embd", "d_model", "hidden_size", "hidden_dim", "model_dim", "embed_dim", "width"),
    # of the sequences in training; what the model could take says nothing about those
    "context": (
        *("block_size", "context_length", "sequence_length", "sequence_len", "seq_length", "seq_len", "max_seq_len"),
        *("max_seq_length", "max_sequence_length", "context", "n_ctx", "tokens_per_sample", "cutoff_len"),
    ),
    "vocabulary_size": ("padded_vocab_size", "vocab_size", "vocabulary_size", "n_vocab"),
    "tied_embeddings": ("tie_word_embeddings", "tied_embeddings", "tie_embeddings"),
    "dropout": ("dropout", "dropout_rate", "resid_pdrop", "hidden_dropout", "hidden_dropout_prob"),
    "bias": ("bias", "use_bias"),
    "tokens_per_step": ("tokens_per_step", "tokens_per_iteration", "tokens_per_batch", "batch_tokens"),
    "accumulation": ("accumulation",),
    "planned_steps": (
        *("planned_steps", "max_steps", "max_iters", "max_iterations", "total_steps", "num_train_steps", "train_steps"),
        *("num_training_steps", "train_iters", "num_iterations", "total_iterations", "num_steps", "total_iters"),
        *("max_train_steps", "training_steps", "max_updates", "max_update", "steps"),
    ),
    "optimizer": ("optimizer", "optimizer_name", "optimizer_type", "optim"),
    "schedule": ("lr_scheduler_type", "lr_schedule", "lr_scheduler", "lr_decay_style", "schedule", "scheduler"),
    "peak_learning_rate": (
        *("peak_learning_rate", "peak_lr", "max_learning_rate", "max_lr", "learning_rate", "lr", "base_lr"),
    ),
    "min_learning_rate": ("min_learning_rate", "min_lr", "lr_min", "final_lr", "end_lr", "eta_min"),
    "warmup_steps": (
        *("warmup_steps", "num_warmup_steps", "warmup_iters", "warmup_iterations", "lr_warmup_steps"),
        *("lr_warmup_iters", "warmup_updates", "warmup"),
    ),
    "decay_end_step": ("decay_end_step", "lr_decay_iters", "lr_decay_steps", "cosine_cycle_iters"),
    "beta1": ("beta1", "adam_beta1"),
    "beta2": ("beta2", "adam_beta2"),
    "weight_decay": ("weight_decay", "wd"),
    "grad_clip": (
        *("grad_clip", "max_grad_norm", "grad_clip_norm", "gradient_clip_val", "gradient_clipping", "clip_grad"),
        *("clip_grad_norm", "max_l2_norm", "clip_norm", "max_norm"),
    ),
    "seed": ("seed", "random_seed"),
    "unique_tokens": ("unique_tokens", "num_train_tokens"),
    "val_tokens": ("val_tokens", "num_val_tokens"),
    "bytes_per_token": ("bytes_per_token",),
    "dataset": ("dataset", "dataset_name"),
    "tokenizer": ("tokenizer", "tokenizer_name", "tokenizer_name_or_path"),
}
# sequences in one forward pass: of one device, or of all of them by what the name says
PER_DEVICE = (
    *(
        "device_batch_size",
        "per_device_train_batch_size",
        "micro_batch_size",
        "micro_batch",
        "per_gpu_train_batch_size",
    ),
    *("device_train_microbatch_size", "batch_size_per_gpu", "batch_size_per_device", "local_batch_size"),
    "train_micro_batch_size_per_gpu",
)
UNSAID = ("batch_size", "train_batch_size")  # of one device or of all: the same where there is one
WHOLE_BATCH = ("global_batch_size", "global_train_batch_size", "effective_batch_size", "total_train_batch_size")
STEPS = (
    *("gradient_accumulation_steps", "gradient_accumulation_iters", "grad_accum_steps", "grad_accumulation_steps"),
    *("accumulation_steps", "accumulate_grad_batches", "grad_accum", "update_freq"),
)
RANKS = (
    "world_size",
    "num_gpus",
    "n_gpus",
    "n_gpu",
    "num_devices",
    "devices",
    "gpus",
    "nproc_per_node",
    "num_processes",
)
NODES = ("num_nodes", "nnodes", "num_machines")
SPLIT = (  # how many devices hold one copy of the model together
    *("tensor_parallel", "tensor_parallel_degree", "tensor_parallel_size", "tensor_model_parallel_size", "tp_size"),
    *("pipeline_parallel_degree", "pipeline_model_parallel_size", "context_parallel_size", "sequence_parallel_size"),
    *("context_parallel_degree", "sequence_parallel_degree", "model_parallel_size"),
)
OTHERS = {"betas", "adam_betas", "min_lr_ratio", "min_lr_rate", "cosine_min_lr_ratio", "warmup_ratio"}
PRECISION_NAMES = ("precision", "mixed_precision", "dtype", "torch_dtype")
KNOWN = {name for names in SPELLINGS.values() for name in names} | OTHERS | {"bf16", "fp16", *PRECISION_NAMES}
KNOWN |= {*PER_DEVICE, *UNSAID, *WHOLE_BATCH, *STEPS, *RANKS, *NODES, *SPLIT}


def facts(settings: Settings, source: str, known: Facts) -> Facts:
    """What these settings state; `known` completes what they leave open, such as the number of devices."""
    stating = Stating(source)
    for fact, names in SPELLINGS.items():
        for name in names:
            stating.state(fact, settings.get(name))
    _pairs(settings, stating)
    _rates(settings, stating)
    _precision(settings, stating)
    _batch(settings, stating, known)
    return stating.facts()


def _pairs(settings: Settings, stating: Stating) -> None:
    for name in ("betas", "adam_betas"):
        betas = settings.get(name)
        if isinstance(betas, str):
            betas = [number(part) for part in betas.strip("()[] ").split(",")]
        if isinstance(betas, list | tuple) and len(betas) == 2:
            stating.state("beta1", betas[0])
            stating.state("beta2", betas[1])


def _rates(settings: Settings, stating: Stating) -> None:
    """What stands there as a share of something else."""
    peak, steps = stating.get("peak_learning_rate"), stating.get("planned_steps")
    if peak and (share := settings.number("min_lr_ratio", "min_lr_rate", "cosine_min_lr_ratio")):
        stating.derive("min_learning_rate", peak * share[1], f"{share[0]} {share[1]:g} x peak {peak:g}")
    ratio = settings.number("warmup_ratio")
    if steps and ratio and ratio[1] and not stating.get("warmup_steps"):
        stating.values.pop("warmup_steps", None)
        stating.derive("warmup_steps", steps * ratio[1], f"warmup_ratio {ratio[1]:g} x {steps} steps")
    warmup = stating.get("warmup_steps")
    fraction = settings.number("warmup_steps")
    if warmup is not None and fraction and 0 < fraction[1] < 1:  # Transformers takes a share for a ratio
        del stating.values["warmup_steps"], stating.sources["warmup_steps"]
        if steps:
            stating.derive("warmup_steps", steps * fraction[1], f"warmup_steps {fraction[1]:g} x {steps} steps")


def _precision(settings: Settings, stating: Stating) -> None:
    for name in ("bf16", "fp16"):
        if settings.get(name) is True:
            stating.state("precision", name)
    for name in PRECISION_NAMES:
        if (value := settings.get(name)) is not None and precision_of(value):
            stating.state("precision", value)


def _batch(settings: Settings, stating: Stating, known: Facts) -> None:
    """A batch of which nobody says whether it is one device's or all of them's is known where there is one device."""
    micro, steps, ranks = settings.number(*PER_DEVICE), settings.number(*STEPS), _ranks(settings, stating, known)
    unsaid, whole = settings.number(*UNSAID), settings.number(*WHOLE_BATCH)
    context: Named | None = None
    if length := stating.get("context"):
        context = (next(name for name in SPELLINGS["context"] if settings.get(name) is not None), float(length))
    elif known.context:
        context = ("context", float(known.context))
    alone = micro is None and unsaid is not None and (ranks is None or ranks[1] == 1)
    if alone and steps and not ranks:
        ranks = ("device", 1.0)
    batch(stating, micro=unsaid if alone else micro, steps=steps, ranks=ranks, context=context, whole=whole)
    if alone and unsaid and context and not steps:
        told = f"{unsaid[0]} {unsaid[1]:g} x {context[0]} {context[1]:g}, if nothing is accumulated"
        stating.derive("tokens_per_step", unsaid[1] * context[1], told if ranks else f"{told} and one device trains")


def _ranks(settings: Settings, stating: Stating, known: Facts) -> Named | None:
    """How many devices share the work of an update, each with sequences of its own."""
    found = settings.number(*RANKS)
    nodes = settings.number(*NODES)
    if found and found[1]:
        if found[0] not in ("world_size", "num_processes") and nodes and nodes[1] > 1:
            found = (f"{nodes[0]} {nodes[1]:g} x {found[0]}", found[1] * nodes[1])
        stating.state("ranks", found[1])
    elif known.ranks:
        found = ("ranks", float(known.ranks))
    else:
        return None
    for name in SPLIT:
        if (share := settings.number(name)) and share[1] > 1:
            found = (f"{found[0]} / {name}", found[1] / share[1])
    return found if found[1] == round(found[1]) else None
