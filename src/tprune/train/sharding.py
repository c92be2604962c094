"""Weights, gradients and optimiser state in parts on several processes: torch's FSDP2, which accelerate drives."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as group
from torch import Tensor, nn

from tprune.support.errors import InputError


def arguments() -> dict[str, Any]:
    """What a Trainer is told of a model that `shard_` has divided."""
    return {"fsdp": True, "fsdp_config": {"version": 2, "auto_wrap_policy": "NO_WRAP"}}


def shard_(model: nn.Module, device: str, bf16: bool = False) -> None:
    """Leaves each process of the group its rows of every parameter, in place; layers are gathered one by one.

    Args:
        model: the same in every process.
        device: its kind, such as `cpu`.
        bf16: compute in bf16; sums over processes stay in fp32.

    Raises:
        InputError: a parameter that cannot be divided among so many processes.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.distributed.tensor import Shard

    size = group.get_world_size()

    def place(tensor: nn.Parameter) -> Shard:
        return Shard(axis_to_cut(tensor, size))

    for name, tensor in model.named_parameters():
        if axis_to_cut(tensor, size) < 0:
            raise InputError(
                f"--shard: {name} of shape {tuple(tensor.shape)} cannot be divided among {size} processes; leave out "
                "--shard"
            )
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bf16 else None
    how: dict[str, Any] = {"mesh": init_device_mesh(device, (size,)), "shard_placement_fn": place}
    if policy is not None:
        how["mp_policy"] = policy
    for layer in layers_of(model):
        fully_shard(layer, **how)
    fully_shard(model, **how)


def axis_to_cut(tensor: Tensor, size: int) -> int:
    """The axis that a parameter is cut along: rows, where all processes get some; -1 where none can be divided.

    Example:
        >>> axis_to_cut(torch.zeros(5, 3), 2), axis_to_cut(torch.zeros(1, 1, 6), 2), axis_to_cut(torch.zeros(1, 3), 2)
        (0, 2, -1)
    """
    if tensor.ndim and -(-tensor.shape[0] // size) * (size - 1) < tensor.shape[0]:  # none is left without a row
        return 0
    return next((axis for axis, length in enumerate(tensor.shape) if length and length % size == 0), -1)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a model's stacks that share no parameter with anything beside them."""
    found: list[nn.Module] = []
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList):
            inside = {id(module) for layer in found for module in layer.modules()}
            found += [layer for layer in stack if id(layer) not in inside and any(True for _ in layer.parameters())]
    return [layer for layer in dict.fromkeys(found) if _alone(layer, model)]


def _alone(layer: nn.Module, model: nn.Module) -> bool:
    own, inside = {id(p) for p in layer.parameters()}, {id(module) for module in layer.modules()}
    others = (p for module in model.modules() if id(module) not in inside for p in module.parameters(recurse=False))
    return not any(id(p) in own for p in others)


@torch.no_grad()
def gather_(model: nn.Module, sharded: nn.Module) -> None:
    """Gives a model the whole values of its sharded copy, in every process.

    Args:
        model: as it was before its copy was sharded.
        sharded: the copy.
    """
    whole = dict(model.named_parameters())
    for name, part in sharded.named_parameters():
        held: Any = part
        whole[name].data.copy_(held.full_tensor())
    buffers = dict(model.named_buffers())
    for name, buffer in sharded.named_buffers():
        buffers[name].copy_(buffer)


def drive_on_cpus(trainer: Any) -> None:
    """Has a Trainer on CPUs drive FSDP2 as it would on GPUs; accelerate by itself does so on GPUs alone."""
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    plugin, state = trainer.args.fsdp_plugin_args, trainer.accelerator.state
    if plugin is None or state.distributed_type != DistributedType.MULTI_CPU:
        return
    for shared in (state._shared_state, type(trainer.args.distributed_state)._shared_state):
        shared["distributed_type"] = DistributedType.FSDP
    state._shared_state["fsdp_plugin"] = FullyShardedDataParallelPlugin(**plugin)
    trainer.is_fsdp_enabled = True
