"""What a run may have found, made up, and changes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tprune.bench.harness import Workload
from tprune.core.score import Difference, Metric, Score
from tprune.families.graphs.encoder_decoder import ENCODER_DECODER
from tprune.realise.certificate import Certificate
from tprune.report.results import (
    Exported,
    ExportedSides,
    Machine,
    Noise,
    Outcome,
    Protocol,
    RunResults,
    SideResults,
)

ONNX = "onnxruntime"
MEASURES = ENCODER_DECODER.phases
BLEU, CHRF = Metric("BLEU", poor=5.0), Metric("chrF", poor=20.0)


def scores(bleu: float = 30.0, chrf: float = 50.0) -> dict[str, Score]:
    """Of translations of 32 sentences."""
    values = ((BLEU, bleu), (CHRF, chrf))
    return {m.name: Score(m, value, value - 1, value + 1, 32, "nrefs:1") for m, value in values}


def side(ms: float, scale: int) -> SideResults:
    times = {"encoder": ms / 10, "decoder_step": ms / 20, "sentence": ms}
    return SideResults(
        scores=scores(),
        parameters=2000 * scale,
        macs=4000 * scale,
        bytes=8000 * scale,
        latency_ms={ONNX: times},
        peak_memory=90_000_000,
        tokens_per_sentence=10.0,
    )


def small_results(**changes: Any) -> RunResults:
    """A pruned model twice as fast and half as large, with hostile names."""
    exported = Exported(1e-7, 4, 4, 0, 4, {"encoder.onnx": 9})
    found = RunResults(
        dense=side(8.0, 2),
        pruned=side(4.0, 1),
        speedup={ONNX: dict.fromkeys(MEASURES, 2.0)},
        speedup_interval={ONNX: dict.fromkeys(MEASURES, (1.9, 2.1))},
        noise=Noise(noisy=False, says="quiet"),
        metric="BLEU",
        difference=difference(-0.2, -0.5, 0.1),
        target=Outcome({"sentence_ms": 4.0}, {"sentence_ms": 3.9}, "speedup", 2.0),
        certificate=Certificate(1e-7, 1e-7, 9, 2, 1e-5),
        export=ExportedSides(exported, exported),
        beams=4,
        bench=Protocol(1, 1, 4, Workload(measures=MEASURES)),
        seed=0,
        training=None,
        command="tprune run '<b>.yaml'",
        commit=None,
        versions={"tprune": "0"},
        machine=Machine(cpu="a cpu", cores=2, memory=8, system="Linux", python="3.11"),
        model="<script>alert(1)</script>",
        warnings=("<i>odd</i>",),
    )
    return replace(found, **changes)


def difference(delta: float, low: float, high: float) -> Difference:
    return Difference(BLEU, delta, low, high, 0.5, 1000, 12345)


def as_fast(speed: float, low: float, high: float) -> dict[str, Any]:
    """The changes that make sentences so much faster."""
    return {"speedup": {ONNX: {"sentence": speed}}, "speedup_interval": {ONNX: {"sentence": (low, high)}}}
