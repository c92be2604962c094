"""Where the time of an exported model goes, by operator of onnxruntime."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime

from tprune.runtimes.translator import Translator

RUNS = 50
REPEATS = 3  # of a profile, the median of which is kept
WARM = 10
SOURCE, PAST = 25, 12  # tokens, as in the timing


def operators(made: Mapping[tuple[str, str], Path]) -> dict[str, dict[str, dict[str, float]]]:
    """By model and graph, microseconds that one run spends in each operator; one thread, the profiler's own cost in it.

    The median of three profiles.

    Args:
        made: exported translation models, by side and precision.
    """
    return {" ".join(key): _middle([_of(folder) for _ in range(REPEATS)]) for key, folder in made.items()}


def _middle(profiles: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of each operator of each graph."""
    first = profiles[0]
    return {
        graph: {name: median(one[graph].get(name, 0.0) for one in profiles) for name in spent}
        for graph, spent in first.items()
    }


def _of(folder: Path) -> dict[str, dict[str, float]]:
    translator: Any = Translator.load(folder)
    sessions = translator.engine.session.sessions
    ids = [[int(np.ravel(translator.layout.decoding.eos_token_id)[0])] * SOURCE]
    tokens = np.full(1, translator.layout.decoding.decoder_start_token_id, np.int64)
    with tempfile.TemporaryDirectory() as scratch:
        for name in sessions:
            sessions[name] = _profiled(folder / f"{name}.onnx", Path(scratch))
        steps = translator.start(ids)
        for _ in range(PAST):
            steps.logits(tokens)
        runs: dict[str, Callable[[], Any]] = {
            "encoder": lambda: translator.start(ids),
            "decoder": lambda: steps.peek(tokens),
        }
        for run in runs.values():
            for _ in range(RUNS):
                run()
        return {name: _spent(Path(session.end_profiling())) for name, session in sessions.items()}


def _profiled(path: Path, scratch: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = True, str(scratch / path.stem)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _spent(file: Path) -> dict[str, float]:
    """Microseconds of a run by operator, the largest first; the first runs are left out."""
    events = json.loads(file.read_text(encoding="utf-8"))
    runs = [each["ts"] for each in events if each["name"] == "model_run"]
    after = sorted(runs)[WARM]
    total: Counter[str] = Counter()
    for each in events:
        if each.get("cat") == "Node" and each["name"].endswith("_kernel_time") and each["ts"] >= after:
            total[each["args"]["op_name"]] += each["dur"]
    return {name: round(spent / (len(runs) - WARM), 2) for name, spent in total.most_common()}
