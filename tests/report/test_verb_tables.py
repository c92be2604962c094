"""The table of `tprune bench`."""

from __future__ import annotations

from small_results import MEASURES
from tprune.bench.harness import BenchResult, Footprint, Workload
from tprune.report.verb_tables import bench_table


def test_the_table_of_a_bench_has_all_that_was_measured() -> None:
    sides = {"dense": 8.0, "pruned": 4.0}
    found = BenchResult(
        latency_ms={side: dict.fromkeys(MEASURES, ms) for side, ms in sides.items()},
        spread={},
        ratios={},
        speedup={"encoder": 1.9, "decoder_step": 2.1, "sentence": 2.0},
        interval=dict.fromkeys(MEASURES, (1.5, 2.5)),
        self_ratio={},
        noisy=True,
        noise="The machine was noisy.",
        footprint={
            "dense": Footprint(10, 8_000_000, 90_000_000, 0, 2000, 4000),
            "pruned": Footprint(9, 4_000_000, 80_000_000, 0, 1000, 2000),
        },
        threads=2,
        batch=3,
        rounds=4,
        work=Workload(),
        machine={},
    )
    lines = [" ".join(line.split()) for line in bench_table(found).splitlines()]
    assert lines[0].startswith("dense pruned speedup")
    assert bench_table(found, ("a/onnx/pruned", "b")).split()[:3] == ["a/onnx/pruned", "b", "speedup"]
    assert lines[1:] == [
        "onnxruntime: encoder pass, ms 8.000 4.000 1.90x 1.50 to 2.50",
        "onnxruntime: decoder step, ms 8.000 4.000 2.10x 1.50 to 2.50",
        "onnxruntime: sentence, ms 8.000 4.000 2.00x 1.50 to 2.50",
        "tokens per sentence 10.0 9.0",
        "parameters 2,000 1,000",
        "multiplications, 25 + 25 tokens 4,000 2,000",
        "peak memory, MB 90 80",
        "file size, MB 8.00 4.00",
        "2 thread(s), batch 3, 4 rounds",
        "The machine was noisy.",
    ]
