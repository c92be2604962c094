"""Recordings as files, with what is said in them."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np

from small_tasks import TEXTS, tones


def wav(samples: Any, rate: int = 16_000, width: int = 2, channels: int = 1) -> bytes:
    """Samples from -1 to 1 as a file."""
    whole = np.round(np.asarray(samples) * (2 ** (8 * width - 1) - 1)).astype("<i4")
    raw = (whole + 128).astype(np.uint8).tobytes() if width == 1 else b""
    if width > 1:
        raw = np.ascontiguousarray(whole.reshape(-1, 1).view(np.uint8)[:, :width]).tobytes()
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return out.getvalue()


def sounds(folder: Path, times: int = 1) -> Path:
    """A table of recordings, each with a transcript, and again so many times; and the recordings beside it."""
    rows = ["path\ttext"]
    for number, (samples, text) in enumerate(zip(tones().sounds, TEXTS, strict=True)):
        (folder / f"{number}.wav").write_bytes(wav(samples))
        rows.append(f"{number}.wav\t{text}")
    table = folder / "sounds.tsv"
    table.write_text("\n".join([rows[0], *rows[1:] * times]) + "\n")
    return table
