"""The reference: the dense model, with the extra training that every pruned model gets.

And what fewer tokens make of it.
"""

from __future__ import annotations

import copy

from benchmarks.peers.job import Job, Made


def dense_more(job: Job) -> Made:
    """Nothing is cut, and all tokens may be written."""
    twin = copy.deepcopy(job.dense)
    twin.generation_config.update(suppress_tokens=None, renormalize_logits=False)
    return Made(twin, 1.0)


def fewer_tokens(job: Job) -> Made:
    """Only the tokens that no model writes are cut, as they are from all smaller models."""
    return Made(copy.deepcopy(job.dense), job.speed.faster)
