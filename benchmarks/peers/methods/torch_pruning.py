"""Torch-Pruning, from its package: its dependency graph and group importance say which heads and FFN units go."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.peers.job import Job, Made, cut, empty_plan, select_to_speed
from tprune.core.selection import Uniform
from tprune.costs.size import norm_scores
from tprune.support.errors import InputError

PROJECTIONS = ("q_proj", "k_proj", "v_proj")


def torch_pruning(job: Job) -> Made:
    """Fang et al., DepGraph: towards any structural pruning, 2023: one-shot `GroupMagnitudeImportance`, then recovery.

    The same share goes from every layer, by its own ranking. Its pruning history names what it cut of each layer; those
    groups are cut here by our plan, because the models that it leaves (other numbers of heads in every layer) do not
    load from disk.
    """
    plan = empty_plan(job.dense)
    sized = select_to_speed(
        job, plan, norm_scores(job.dense, plan), Uniform(job.limits)
    )  # how many; which, the package says
    total = {entry.coupling.name: entry.keep.numel() for entry in sized.entries}
    cut_away = pruned_by_package(
        job.dense, {e.coupling.name: total[e.coupling.name] - len(e.kept or ()) for e in sized.entries}, total
    )
    kept = {name: torch.ones(n, dtype=torch.bool) for name, n in total.items()}
    for name, groups in cut_away.items():
        kept[name][sorted(groups)] = False
    chosen = plan.with_kept(kept, sized.asked, sized.reached)
    return cut(job, job.dense, chosen, 0.0, "its choice of groups, cut and exported by our path")


def pruned_by_package(model: Any, gone: Mapping[str, int], total: Mapping[str, int]) -> dict[str, set[int]]:
    """The groups that the package prunes when told to take `gone` of `total` from each coupling.

    Raises:
        InputError: the package is not installed, or pruned another number than it was told to.
    """
    try:
        import torch_pruning as tp
    except ImportError:
        raise InputError("pip install --no-deps -r benchmarks/peers/requirements.txt") from None
    twin = copy.deepcopy(model).eval()
    ratios, head_ratios, heads = {}, {}, {}
    # half a group less: the package rounds the number it cuts up
    for name, n in gone.items():
        ratio = max(0.0, (n - 0.5) / total[name])
        if name.endswith(".heads"):
            for projection in PROJECTIONS:
                module = twin.get_submodule(f"{name.removesuffix('.heads')}.{projection}")
                heads[module], head_ratios[module] = total[name], ratio
                ratios[module] = ratio  # without one for channels too, the package passes over heads
        else:
            ratios[twin.get_submodule(f"{name.removesuffix('.ffn')}.fc1")] = ratio
    example = {
        "input_ids": torch.ones(1, 5, dtype=torch.long),
        "attention_mask": torch.ones(1, 5, dtype=torch.long),
        "decoder_input_ids": torch.ones(1, 4, dtype=torch.long),
        "use_cache": False,
    }
    pruner = tp.pruner.BasePruner(
        twin,
        example,
        importance=tp.importance.GroupMagnitudeImportance(),
        pruning_ratio=0.0,
        pruning_ratio_dict=ratios,
        num_heads=heads,
        prune_num_heads=True,
        prune_head_dims=False,
        head_pruning_ratio_dict=head_ratios,
        ignored_layers=[m for n, m in twin.named_modules() if n.endswith(("out_proj", "fc2", "lm_head"))],
        root_module_types=[torch.nn.Linear],
        forward_fn=lambda m, inputs: m(**inputs),
        output_transform=lambda out: out.logits,
    )
    pruner.step()
    found: dict[str, set[int]] = {name: set() for name in total}
    for module, _, channels in pruner.pruning_history():
        where, _, what = module.rpartition(".")
        name = f"{where}.ffn" if what == "fc1" else f"{where}.heads"
        if name not in found:
            raise InputError(f"torch-pruning: cut {module}, which it was not told to")
        width = model.get_submodule(module).out_features // total[name]
        found[name] |= {int(c) // width for c in channels}
    for name, n in gone.items():
        if len(found[name]) != n:
            raise InputError(f"torch-pruning: took {len(found[name])} groups from {name}, told to take {n}")
    return found
