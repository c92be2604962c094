"""Layer dropping: whole layers go, with their norms, and a stock model of fewer layers remains."""

from __future__ import annotations

import copy
import math
import re
from itertools import product
from typing import Any

from transformers import MarianMTModel

from benchmarks.peers.job import Job, Made, if_off
from tprune.families.registry import family_of

LAYER = re.compile(r"\.(encoder|decoder)\.layers\.(\d+)\.")


def layer_drop(job: Job) -> Made:
    """The pair of depths whose speed is nearest; the layers that stay are spread evenly, the first among them.

    Sajjad et al., On the effect of dropping layers of pre-trained Transformer models, 2023 (alternate dropping).
    """
    config = job.dense.config
    depths = [*product(range(1, config.encoder_layers + 1), range(1, config.decoder_layers + 1))][:-1]
    speeds = {}
    for e, d in depths:
        speeds[e, d] = job.speed.of_model(
            dropped(job.dense, spread(e, config.encoder_layers), spread(d, config.decoder_layers))
        )
    best = min(depths, key=lambda pair: abs(math.log(speeds[pair] / job.target)))
    kept = spread(best[0], config.encoder_layers), spread(best[1], config.decoder_layers)
    notes = (
        f"encoder layers {kept[0]}, decoder layers {kept[1]}",
        *if_off(job, speeds[best], "the nearest pair of depths"),
    )
    return Made(dropped(job.dense, *kept), speeds[best], notes=notes)


def spread(keep: int, layers: int) -> list[int]:
    """Indices of the layers that stay: the first, and the others as far apart as they can be.

    Example:
        >>> spread(1, 3), spread(2, 3), spread(3, 6)
        ([0], [0, 2], [0, 2, 5])
    """
    return [round(i * (layers - 1) / max(1, keep - 1)) for i in range(keep)]


def dropped(dense: Any, encoder: list[int], decoder: list[int]) -> Any:
    """The dense model with these layers only."""
    config = copy.deepcopy(dense.config)
    config.encoder_layers, config.decoder_layers = len(encoder), len(decoder)
    config.num_hidden_layers = len(encoder)
    model = MarianMTModel(config)
    family_of(dense).inherit(dense, model)
    place = {"encoder": encoder, "decoder": decoder}
    state = {}
    for name, tensor in dense.state_dict().items():
        found = LAYER.search(name)
        if found is None:
            state[name] = tensor
        elif int(found[2]) in place[found[1]]:
            new = place[found[1]].index(int(found[2]))
            state[name.replace(found[0], f".{found[1]}.layers.{new}.")] = tensor
    model.load_state_dict(state, strict=True)
    return model.eval()
