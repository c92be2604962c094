"""Recordings of speech with their transcripts, and their decoding."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tprune.data.rows import SHORT, Rows, check_texts
from tprune.support.errors import InputError

Sound = Path | bytes | NDArray[np.float32]  # a file, its content, or samples of 16 kHz
Samples = NDArray[np.float32]
RATE = 16_000  # samples a second of what is given as samples
NEEDED = "reading audio that is no WAV of whole numbers needs soundfile: pip install 'tprune[audio]'"


@dataclass(frozen=True, eq=False)
class Recordings(Rows):
    """Recordings that are decoded when a model is given them, and what is said in each.

    Raises:
        InputError: there are none, or not as many transcripts.

    Example:
        >>> len(Recordings((np.zeros(160, np.float32),), ("hello",)))
        1
    """

    sounds: tuple[Sound, ...]
    texts: tuple[str, ...]
    name: str = "recordings"
    places: tuple[str, ...] = ()
    COLUMNS: ClassVar[tuple[str, ...]] = ("sounds", "texts")

    def __post_init__(self) -> None:
        check_texts(self.texts, f"{self.name}: transcripts")
        super().__post_init__()

    def digest(self) -> str:
        """A hash of the recordings' content and of the transcripts."""
        found = sha256(repr(self.texts).encode("utf-8", "surrogatepass"))
        for sound in self.sounds:
            found.update(sha256(_content(sound)).digest())
        return found.hexdigest()[:SHORT]


def _content(sound: Sound) -> bytes:
    if isinstance(sound, Path):
        return sound.read_bytes()
    return sound if isinstance(sound, bytes) else sound.tobytes()


def samples_of(sound: Sound, rate: int, place: str) -> Samples:
    """The samples of a recording, from -1 to 1, its channels averaged.

    Args:
        sound: a WAV file or what soundfile reads (FLAC, OGG, MP3), its content, or samples of 16 kHz.
        rate: samples a second that are wanted; other rates are resampled.
        place: what messages call it.

    Raises:
        InputError: it cannot be decoded, or holds nothing.
    """
    if isinstance(sound, np.ndarray):
        found, own = np.asarray(sound, np.float32).reshape(-1, 1), RATE
    else:
        try:
            raw = _content(sound)
            found, own = _of_wav(raw) or _of_soundfile(raw, place)
        except InputError:
            raise
        except Exception as error:  # soundfile and wave raise many kinds for damaged files
            raise InputError(f"{place}: no audio that can be decoded ({str(error) or type(error).__name__})") from None
    if not len(found):
        raise InputError(f"{place}: holds no samples; expected speech")
    return resampled(found.mean(1), own, rate)


def _of_wav(raw: bytes) -> tuple[Samples, int] | None:
    """Samples (length, channels) and their rate; None for what is no WAV of whole numbers."""
    try:
        with wave.open(io.BytesIO(raw)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.getnframes()
            content = file.readframes(frames)
    except (wave.Error, EOFError):
        return None
    if len(content) < frames * width * channels:
        raise ValueError(f"cut short: {len(content):,} bytes of {frames * width * channels:,}")
    values = np.frombuffer(content, np.uint8).reshape(-1, width)
    if width == 1:  # of one byte they have no sign
        found: NDArray[Any] = values[:, 0].astype(np.float32) / 128 - 1
    else:
        wide = np.zeros((len(values), 4), np.uint8)
        wide[:, 4 - width :] = values
        found = wide.view("<i4")[:, 0] / 2.0**31
    return np.asarray(found.reshape(-1, channels), np.float32), rate


def _of_soundfile(raw: bytes, place: str) -> tuple[Samples, int]:
    try:
        import soundfile
    except ImportError:
        raise InputError(f"{place}: {NEEDED}") from None
    read: Any = soundfile.read
    found, rate = read(io.BytesIO(raw), dtype="float32", always_2d=True)
    return found, int(rate)


def resampled(samples: Samples, own: int, rate: int) -> Samples:
    """A signal at another rate, its frequencies above half of the lower rate left out.

    Args:
        samples: (length,) at `own` samples a second.
        own: see `samples`.
        rate: that is wanted.

    Example:
        >>> resampled(np.ones(48, np.float32), 48_000, 16_000).round(3).tolist()[:2], len(resampled(np.ones(9), 8, 16))
        ([1.0, 1.0], 18)
    """
    if own == rate:
        return np.asarray(samples, np.float32)
    length = max(1, round(len(samples) * rate / own))
    waves = np.fft.rfft(samples)[: length // 2 + 1]
    found: Samples = (np.fft.irfft(waves, length) * (length / len(samples))).astype(np.float32)
    return found
