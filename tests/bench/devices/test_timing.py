"""Benchmarks on a device: behind a fake `adb` with a fake runtime, and for real in a folder of this machine."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_phone import Phone, exported

from tprune.bench.devices import on_device, python_runner
from tprune.bench.devices.perf_test import inputs
from tprune.bench.devices.runner import shots_of
from tprune.bench.devices.timing import Where, bench_on
from tprune.bench.work import Workload
from tprune.cli import app as cli
from tprune.core.caches import LayerCache, translation_signatures
from tprune.core.graph import Signature
from tprune.families.graphs.decoder_only import signature_of
from tprune.report.device_table import device_table
from tprune.runtimes.layout import Layout
from tprune.support.errors import InputError
from tprune.support.manifest import Manifest

Sides = tuple[Path, Path]
ADB = Where("adb")


def left(phone: Phone) -> list[str]:
    return sorted(path.name for path in phone.base.iterdir())


@pytest.mark.slow
def test_two_models_on_a_phone(phone: Phone, sides: Sides, tmp_path: Path) -> None:
    found = bench_on(Where("adb", logs=tmp_path / "logs"), *sides, rounds=4, batch=2)
    assert 1.4 < found.speedup["pass"] < 2.6 and found.rounds == 4 and found.work.measures == ("pass",)
    machine = {
        "transport": "adb",
        "model": "Pixel 6a",
        "soc": "GS101",
        "system": "Android 14",
        "memory": 5_836_800_000,
        "cores": 8,
        "governor": "schedutil",
        "pinned_to": [4, 5, 6, 7],
        "onnxruntime": "1.20.0",
    }
    assert machine.items() <= found.machine.items() and "R5CT" not in json.dumps(found.as_dict())
    assert (phone.root / "mask").read_text() == "f0\n"
    assert all(weight.peak_memory > weight.memory_before_load > 2**20 for weight in found.footprint.values())
    assert [look.before.as_dict()["mhz"] for look in found.conditions] == [2800.0] * 4
    assert found.conditions[0].after.degrees == {1: 31.0}  # the other sensor is off
    assert found.warnings == [] and found.broken is None
    assert left(phone) == []
    for name in ("dense.log", "pruned.log"):
        assert (tmp_path / "logs" / name).read_text().count("a library that prints") == 4


@pytest.mark.slow
def test_a_phone_that_throttles(phone: Phone, sides: Sides, tmp_path: Path) -> None:
    found = bench_on(ADB, sides[0], exported(tmp_path / "hot", b"warms"), rounds=4)
    assert found.warnings[0].startswith("throttled: the frequency fell from 2800 to 1900 MHz (in 4 of 4 rounds)")
    assert found.warnings[1] == "the device grew warmer by 48 degrees, from 31 to 78"
    table = device_table(found, ("A", "B"))
    assert "on Pixel 6a, GS101, Android 14, pinned to cores 4, 5, 6, 7, governor schedutil; new processes in" in table
    assert "\n1900 to 2800 MHz, hottest sensor at 31 to 78 degrees\nwarning: throttled: the frequency fell" in table


def test_no_space_is_said_before_anything_is_copied(phone: Phone, sides: Sides) -> None:
    phone.write("free", "900")
    phone.set(unplug=["push", 0])
    text = r"^adb:R5CT: no space: 1,0\d\d,\d\d\d bytes are needed in /data/local/tmp, 921,600 are free$"
    with pytest.raises(InputError, match=text):
        bench_on(ADB, *sides, rounds=4)
    assert left(phone) == []


@pytest.mark.slow
def test_unplugged_half_way(
    phone: Phone, sides: Sides, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured is kept from the second round on; the one that was going on does not count."""
    phone.set(unplug=["round '{", 2])
    monkeypatch.setattr(sys, "argv", ["tprune", "bench", *map(str, sides), "--on", "adb", "--rounds", "6", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, notes = capsys.readouterr()
    found = json.loads(out)
    assert ended.value.code == 1 and found["rounds"] == 2 == len(found["conditions"])
    assert 1.2 < found["speedup"]["onnxruntime"]["pass"] < 3
    said = r"adb:R5CT: unplugged, it is not listed any more \(in round 3 of 6\); /data/local/tmp/tprune-bench-\w+ is"
    assert re.match(
        rf"tprune: {said} left there; the figures are of the 2 rounds before$", notes.strip().splitlines()[-1]
    ), notes
    assert re.match(said, found["broken"]) and found["warnings"][-1].startswith(found["broken"])
    assert len(left(phone)) == 1
    phone.set(devices={"R5CT": "device"}, unplug=["round '{", 1])
    with pytest.raises(InputError, match=said.replace("3 of 6", "2 of 6")):
        bench_on(ADB, *sides, rounds=6)


def test_unplugged_while_copying(phone: Phone, sides: Sides) -> None:
    phone.set(unplug=["push", 3])
    with pytest.raises(InputError, match=r"^adb:R5CT: unplugged, .*; /data/local/tmp/tprune-bench-\w+ is left there$"):
        bench_on(ADB, *sides, rounds=4)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"killed", r"the process of the pruned model was killed \(signal 9\); is there memory for it\?"),
        (b"broken", r"the process of the pruned model ended with code 1: RuntimeError: Load model failed: Protobuf"),
        (b"hangs", r"the runner was killed \(signal 14\): a round takes longer than \d+ s"),
    ],
)
def test_runners_that_fail(
    phone: Phone, sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, text: str
) -> None:
    if content == b"hangs":
        monkeypatch.setattr(python_runner, "ROUND_SECONDS", 3)
    with pytest.raises(InputError, match=rf"^adb:R5CT: {text}.* \(in round 1 of 4\)$") as caught:
        bench_on(ADB, sides[0], exported(tmp_path / "bad", content), rounds=4)
    assert "\n" not in str(caught.value) and left(phone) == []


def test_what_a_device_lacks(phone: Phone, sides: Sides) -> None:
    needs = r"; expected Python with numpy and onnxruntime \(--runner python:PATH\), or --runner perf-test:PATH$"
    with pytest.raises(InputError, match=rf"^adb:R5CT: has no python9{needs}"):
        bench_on(Where("adb", runner="python:python9"), *sides, rounds=4)
    with pytest.raises(InputError, match=r"^adb:R5CT: /data/local/tmp/perf is no program there; expected the path of"):
        bench_on(Where("adb", runner="perf-test:/data/local/tmp/perf"), *sides, rounds=4)
    phone.write("site/onnxruntime.py", "raise ImportError('not for this processor')")
    with pytest.raises(InputError, match=rf"^adb:R5CT: python3 has no onnxruntime{needs}"):
        bench_on(ADB, *sides, rounds=4)
    phone.program("root/bin", "python3", "echo 'bad interpreter' >&2; exit 1")
    with pytest.raises(InputError, match=rf"^adb:R5CT: python3 cannot be used \(bad interpreter\){needs}"):
        bench_on(ADB, *sides, rounds=4)
    assert left(phone) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"where": Where("adb", runner="lunch")}, "runner 'lunch'; expected one of perf-test, python"),
        ({"where": Where("adb", runner="perf-test")}, "--runner perf-test:: expected perf-test:PATH, an absolute path"),
        ({"where": Where("adb", cores="9")}, "--cores 9: the device has no core 9 to use; expected some of 0,1,2,3,4,"),
        ({"where": Where("adb", cores="7-4")}, "--cores 7-4: expected big, little, or a list"),
        ({"where": Where("adb", cores="0,1"), "threads": 3}, "threads 3; expected at most 2, the cores that the model"),
        ({"threads": 9}, "threads 9; expected at most 8"),
        ({"rounds": 5}, "rounds 5"),
        (
            {"work": Workload(measures=("sentence",))},
            "--runner python does not time sentence; expected some of encoder",
        ),
    ],
)
def test_bad_arguments(phone: Phone, sides: Sides, change: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"where": ADB, "dense": sides[0], "pruned": sides[1], "rounds": 4} | change
    with pytest.raises(InputError) as caught:
        bench_on(**arguments)
    assert str(caught.value).startswith(text) or text in str(caught.value)


@pytest.mark.slow
def test_a_device_without_taskset(phone: Phone, sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    (phone.root / "bin" / "taskset").unlink()
    for name in ("sh", "cat", "grep", "tr", "cut", "uname", "mkdir", "rm"):
        phone.program("few", name, f'exec {shutil.which(name)} "$@"')
    monkeypatch.setenv("DEVICE_PATH", str(phone.home / "few"))
    with pytest.raises(InputError, match=r"^--cores little: adb:R5CT has no taskset"):
        bench_on(Where("adb", cores="little"), *sides, rounds=4)
    found = bench_on(ADB, *sides, rounds=4)
    assert found.warnings == ["not pinned to cores: the device has no taskset"] and found.machine["pinned_to"] == []


PERF = """
graph=
for word; do graph=$word; done
echo "$@" >> "$ROOT/lines"
case $LD_LIBRARY_PATH in */data/local/tmp) ;; *) exit 5;; esac
test -s "$(dirname "$graph")/test_data_set_0/input_0.pb" || exit 6
echo "Peak working set size: $((1000 * $(cat "$graph" | wc -c))) bytes"
case $graph in
  */dense/*) echo "P50 Latency: 0.004 s";;  # as newer versions say it, and as older ones
  *) echo "P50 Latency is 0.002sec";;
esac
"""


@pytest.mark.slow
def test_the_tool_of_devices_without_python(phone: Phone, sides: Sides) -> None:
    """Its flags, the inputs beside the graph, and what is read of its report; the real tool is not run here."""
    phone.program("root/data/local/tmp", "perf", PERF)
    found = bench_on(Where("adb", cores="little", runner="perf-test:/data/local/tmp/perf"), *sides, 2, 1, 4)
    assert found.speedup == {"pass": 2.0} and found.latency_ms["dense"] == {"pass": 4.0}
    assert found.footprint["pruned"].peak_memory == 2_000_000 and "turns of 1 s" in found.as_dict()["protocol"]
    lines = (phone.root / "lines").read_text().splitlines()
    assert ["dense" in line for line in lines] == [True, False, False, True] * 2
    assert lines[0].startswith("-e cpu -m duration -t 1 -x 2 -y 1 -o 99 -s ")
    assert (phone.root / "mask").read_text() == "f\n"
    assert left(phone) == ["perf"]
    phone.program("root/data/local/tmp", "perf", "kill -9 $$")
    with pytest.raises(InputError, match=r"^adb:R5CT: perf with the dense model was killed \(signal 9\); is there"):
        bench_on(Where("adb", runner="perf-test:/data/local/tmp/perf"), *sides, rounds=4)


TEXTS = signature_of([LayerCache(0, 2, 4, 6)])
PAIRS = translation_signatures((LayerCache(0, 2, 4, 4),), (LayerCache(0, 3, 4, 4),))


@pytest.mark.parametrize(
    ("graphs", "phase", "shapes"),
    [
        (PAIRS, "encoder", {"input_ids": (2, 7), "attention_mask": (2, 7)}),
        (PAIRS, "decoder_step", {"input_ids": (2, 1), "cross_key_0": (2, 2, 7, 4), "past_value_0": (2, 3, 5, 4)}),
        ((TEXTS,), "prefill", {"input_ids": (2, 7), "attention_mask": (2, 7), "past_value_0": (2, 2, 0, 6)}),
        ((TEXTS,), "step", {"input_ids": (2, 1), "attention_mask": (2, 6), "past_value_0": (2, 2, 5, 6)}),
    ],
)
def test_both_runners_make_up_the_same_inputs(
    graphs: tuple[Signature, ...], phase: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    layout = Layout(task="t", phases=(phase,), graphs=graphs, limits={}, parameters=1, macs=1, files=Manifest({}))
    shot = shots_of(layout, [phase], Workload(source=7, past=5), 2)[phase]
    one = inputs(layout.graph(shot.graph), shot.sizes)
    plain = next(graph for graph in layout.to_dict()["graphs"] if graph["name"] == shot.graph)
    other = on_device.inputs(plain, dict(shot.sizes))
    assert one.keys() == other.keys() and shapes.items() <= {name: x.shape for name, x in one.items()}.items()
    for name, values in one.items():
        assert values.dtype == other[name].dtype and np.array_equal(values, other[name])
    short = Layout(
        task="t",
        phases=(phase,),
        graphs=graphs,
        limits={"total": 5, "source": 5},
        parameters=1,
        macs=1,
        files=Manifest({}),
    )
    with pytest.raises(InputError, match=rf"^phase {phase}: [67] (total|source) tokens; expected at most 5"):
        shots_of(short, [phase], Workload(source=7, past=5), 2)


def marian() -> tuple[Any, Any, list[str]]:
    from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer

    texts = ["a cat sat on the mat", "two dogs play in the snow"]
    tokenizer = train_tokenizer(texts, vocabulary=60, max_length=32)
    model = new_model(MarianSize(64, (2, 2), 4, 128, len(tokenizer), 0.0, 32), len(tokenizer))
    model.generation_config.max_length = 12
    return model, tokenizer, texts


def strange(name: str) -> Callable[[], tuple[Any, None, None]]:
    def made() -> tuple[Any, None, None]:
        from table_models import table_model

        return table_model(name).float(), None, None

    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "phases"),
    [
        (marian, {"encoder", "decoder_step"}),
        (strange("resnet"), {"pass"}),
        (strange("llama"), {"prefill", "step", "text"}),
    ],
    ids=["marian", "resnet", "llama"],
)
def test_a_model_against_itself_in_a_folder(make: Callable[[], Any], phases: set[str], tmp_path: Path) -> None:
    """For real: the runner's own processes, onnxruntime, pinned; equal ones are equally fast, and all is taken away."""
    from tprune.runtimes.export import export

    torch.manual_seed(0)
    model, tokenizer, texts = make()
    out, place = tmp_path / "out", tmp_path / "a device; with 'odd' $(characters)"
    export(model, tokenizer, out, *([texts] if texts else []))
    place.mkdir()
    found = bench_on(Where(f"folder:{place}", runner=f"python:{sys.executable}"), out, out, rounds=6)
    assert set(found.speedup) == phases
    assert all(0.6 < ratio < 1.7 for ratio in found.speedup.values())
    assert all(0 < ms < 1000 for side in found.latency_ms.values() for ms in side.values())
    assert found.footprint["dense"].peak_memory > found.footprint["dense"].memory_before_load > 2**20
    assert found.machine["transport"] == "folder" and found.machine["pinned_to"] and found.machine["memory"] > 2**28
    assert list(place.iterdir()) == []
    json.dumps(found.as_dict())
