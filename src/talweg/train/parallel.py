"""One model on several ranks: whole on each (DDP) or cut into parts (FSDP2), and the way of tensors to and from files.

A checkpoint is the same whatever wrote it, so that any number of ranks can go on from it, and one process can read it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn

from talweg.model.gpt import GPT
from talweg.train import hardware
from talweg.train.config import Config
from talweg.train.ranks import Ranks

BY_ELEMENT = ("adamw",)  # optimizers to which a part of a matrix is as good as the whole


class _Objective(nn.Module):
    """The training loss as a forward pass, which is what DistributedDataParallel watches."""

    def __init__(self, model: GPT, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, *tensors: Tensor) -> Tensor:
        return self._loss(*tensors)


def spread(model: GPT, config: Config, ranks: Ranks, tell: Callable[[str], None]) -> Callable[..., Tensor]:
    """Train this model on all ranks; the training loss, whose backward pass exchanges gradients.

    Called before the optimizer is built: with fsdp the parameters become parts of what they were.
    """
    if ranks.world > 1 and config.hardware.strategy == "fsdp":  # not compiled: untried here
        _cut(model, ranks)
        return model.total_loss
    loss = hardware.compiled(model.total_loss, config, tell)
    if ranks.world == 1:
        return loss
    devices = [torch.device(ranks.device)] if ranks.device.startswith("cuda") else None
    objective = nn.parallel.DistributedDataParallel(
        _Objective(model, loss), device_ids=devices, gradient_as_bucket_view=False
    )
    _settle(objective, model, ranks)
    return objective


def _cut(model: GPT, ranks: Ranks) -> None:
    """Each rank keeps its part of the rows of every weight; a block's are put together while it is at work."""
    from torch.distributed.device_mesh import init_device_mesh  # 0.6 s that a run without fsdp does not pay
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(ranks.device.partition(":")[0], (ranks.world,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for method in ("total_loss", "losses"):
        register_fsdp_forward_method(model, method)


def _settle(objective: nn.Module, model: GPT, ranks: Ranks) -> None:
    """One backward pass for nothing: DDP orders the gradients that it sends after the first one it sees.

    The order decides how three and more ranks round their sums, so a run that goes on would round its first step
    otherwise than one that was never stopped.
    """
    nothing = [torch.zeros((1, model.shape.context), dtype=torch.int64, device=ranks.device) for _ in range(2)]
    if model.shape.document_mask:
        nothing.append(nothing[0])
    objective(*nothing).backward()
    for parameter in model.parameters():
        parameter.grad = None


def let_go(objective: Callable[..., Tensor]) -> None:
    """End DDP's hold on the group of ranks, before they part.

    Its C++ half would destroy the group under the interpreter's lock, and wait there for a thread of the group that may
    itself want the lock: of some dozen runs two never ended (torch 2.13, gloo).
    """
    if isinstance(objective, nn.parallel.DistributedDataParallel):
        objective.reducer = objective.logger = None  # type: ignore[assignment]


def exchange(model: nn.Module, objective: Callable[..., Tensor], last: bool) -> AbstractContextManager[object]:
    """Ranks exchange gradients in the backward pass of the last micro-batch only."""
    if in_parts(model):
        model.set_requires_gradient_sync(last)  # type: ignore[operator]
        model.set_is_last_backward(last)  # type: ignore[operator]
    if last or not isinstance(objective, nn.parallel.DistributedDataParallel):
        return nullcontext()
    return objective.no_sync()


def in_parts(model: nn.Module) -> bool:
    """Whether each rank holds a part of every weight only."""
    return hasattr(model, "set_requires_gradient_sync")


def cut_again(model: nn.Module) -> None:
    """After a forward pass without a backward pass fsdp leaves some weights put together: parts again."""
    for module in model.modules():
        if in_parts(module):
            module.reshard()  # type: ignore[operator]


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor of which each rank may hold a part; then all ranks have to ask for it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def own_part(tensor: Any) -> Tensor:
    """What this rank holds of it."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor  # type: ignore[no-any-return]


def over_parts(values: Tensor, weight: Tensor) -> Tensor:
    """The sum over all ranks of what each computed of its parts, where `weight` is one of which each holds a part."""
    if hasattr(weight, "full_tensor"):
        distributed.all_reduce(values)
    return values


def handed_out(tensors: Mapping[str, Tensor], model: nn.Module, ranks: Ranks) -> Mapping[str, Tensor]:
    """The first rank's tensors on every rank, cut as the parameter is cut whose name stands in theirs.

    One after the other, so that with fsdp no rank but the first ever holds all of them. Ranks on other machines need
    not see the file.
    """
    if ranks.world == 1:
        return tensors
    parameters = dict(model.named_parameters())
    found = {}
    for name, shape, dtype in ranks.agreed([(name, t.shape, t.dtype) for name, t in tensors.items()]):
        full = (
            tensors[name].to(ranks.device) if ranks.first else torch.empty(shape, dtype=dtype, device=ranks.device)
        ).contiguous()
        distributed.broadcast(full, src=0)
        parameter = next((parameters[part] for part in name.split("/") if part in parameters), None)
        found[name] = _cut_like(parameter, full) if in_parts(model) and _fits(parameter, full) else full.cpu()
    return found


def _fits(parameter: Tensor | None, full: Tensor) -> bool:
    return parameter is not None and parameter.shape == full.shape


def _cut_like(parameter: Any, full: Tensor) -> Tensor:
    """This rank's part of the whole, copied: a view would hold on to the rest."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    cut = distribute_tensor(full, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return DTensor.from_local(
        cut.to_local().clone(), cut.device_mesh, cut.placements, run_check=False, shape=cut.shape, stride=cut.stride()
    )
