"""Spearman's rank correlation, its bootstrap interval, and a scatter of ranks as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

DRAWS = 2000
COLOURS = {"ffn": "#0b62b8", "heads": "#c2410c", "qk": "#15803d", "vo": "#7e22ce"}


def ranked(values: Sequence[float]) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean rank."""
    found = np.asarray(values, dtype=float)
    below = (found[None, :] < found[:, None]).sum(1)
    return below + ((found[None, :] == found[:, None]).sum(1) - 1) / 2


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """The correlation of ranks; 0 where one side does not vary."""
    a, b = ranked(one), ranked(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def with_interval(one: Sequence[float], other: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Spearman with the 2.5 and 97.5 per cent points over components drawn with replacement."""
    random, a, b = np.random.default_rng(seed), np.asarray(one), np.asarray(other)
    draws = random.integers(0, len(a), (DRAWS, len(a)))
    low, high = np.percentile([spearman(a[d], b[d]) for d in draws], [2.5, 97.5])
    return {"spearman": round(spearman(a, b), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def scatter(truth: Mapping[str, float], tables: Mapping[str, Mapping[str, float]], kinds: Mapping[str, str]) -> str:
    """Ranks of each predictor (across) against the ranks of the truth (up), one panel each, as a self-contained SVG."""
    names, side, gap, columns = list(truth), 200, 46, 3
    up = ranked([truth[n] for n in names])
    rows = -(-len(tables) // columns)
    parts = []
    for i, (title, table) in enumerate(tables.items()):
        left, top = 20 + (i % columns) * (side + gap), 40 + (i // columns) * (side + gap)
        values = [table[n] for n in names]
        across = ranked(values)
        parts.append(f'<rect class="f" x="{left}" y="{top}" width="{side}" height="{side}"/>')
        rho = spearman(values, [truth[n] for n in names])
        parts.append(f'<text x="{left}" y="{top - 8}">{escape(title)}: {rho:.2f}</text>')
        for n, x, y in zip(names, across, up, strict=True):
            at = left + 8 + (side - 16) * x / (len(names) - 1), top + side - 8 - (side - 16) * y / (len(names) - 1)
            parts.append(
                f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4" fill="{COLOURS.get(kinds[n], "gray")}">'
                f"<title>{escape(n)}</title></circle>"
            )
    width, height = 20 + columns * (side + gap), 50 + rows * (side + gap) + 10
    legend = "".join(
        f'<circle cx="{26 + 80 * i}" cy="{height - 18}" r="4" fill="{c}"/><text x="{36 + 80 * i}" '
        f'y="{height - 14}">{k}</text>'
        for i, (k, c) in enumerate(COLOURS.items())
    )
    style = (
        "text{font:13px system-ui,sans-serif;fill:#1b1f24}.f{fill:none;stroke:#8a939d}svg{color-scheme:light dark}"
        "@media(prefers-color-scheme:dark){text{fill:#e8eaed}circle{filter:brightness(1.5)}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<style>{style}</style>{''.join(parts)}{legend}</svg>\n"
    )
