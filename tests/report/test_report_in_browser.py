"""The pages in a real browser: on a phone, a tablet and a screen, in the dark, and with hostile names and sentences."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_report import run as run

from browser import CHROMIUM, IN_CI, browse, measured
from small_results import MEASURES, ONNX, as_fast, difference, scores, small_results
from tprune.core.sites import site_from_name
from tprune.report.analysis_page import write_page
from tprune.report.comparison import compare, write_comparison
from tprune.report.page import write_report
from tprune.report.results import Noise

WIDTHS = (375, 768, 1280)
LONG = "opus-mt-" + "x" * 150 + "-en-de"
NASTY = (
    "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz" * 3,
    "这是一个没有空格的很长的句子" * 12,
    "هذه جملة طويلة من اليمين إلى اليسار " * 6,
    "<b>bold</b><script>document.title = 'run'</script> & <img src=x onerror=alert(1)>",
    "http" + ":" * 200,
    "\u202eturned round\u202c \x1b[2J",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None and not IN_CI, reason="no Chromium is installed, and this is no CI"),
]


def all_fits(page: Path) -> list[dict[str, Any]]:
    found = measured(page, WIDTHS)
    for width, seen in zip(WIDTHS, found, strict=True):
        assert seen["faults"] == [], f"{page.name} at {width} px"
        assert seen["scripts"] == 0
    return found


@pytest.fixture
def nasty(run: Path) -> Path:
    """The run with names and sentences that hardly fit anywhere, and forty layers."""
    config = json.loads((run / "dense" / "config.json").read_text())
    config |= {"encoder_layers": 40, "decoder_layers": 40}
    (run / "dense" / "config.json").write_text(json.dumps(config))
    said = {side: list(NASTY) for side in ("source", "reference", "dense")} | {"pruned": list(reversed(NASTY))}
    (run / "translations.json").write_text(json.dumps(said))
    made_for = json.loads((run / "run.json").read_text())
    names = {"model": LONG, "train": f"{LONG}.en/{LONG}.de", "valid": NASTY[1], "test": NASTY[2]}
    training = {"precision": "bf16", "threads": 2}
    (run / "run.json").write_text(json.dumps({**made_for, "names": names, "training": training}))
    large = {"parameters": 12_345_678_901, "macs": 98_765_432_109, "bytes": 49_382_715_604}
    found = small_results()
    odd = replace(
        found,
        dense=replace(found.dense, **large),
        pruned=replace(found.pruned, **large),
        speedup={ONNX: dict.fromkeys(MEASURES, 0.4)},
        noise=Noise(noisy=True, says=NASTY[0]),
        difference=difference(-28.123, -29.5, -27.25),
        command=f"tprune prune {LONG}",
        model=f"/models/{LONG}",
        warnings=tuple(NASTY),
    )
    (run / "results.json").write_text(json.dumps(odd.to_dict()))
    return run


def test_the_page_fits_every_window_and_runs_no_script(run: Path) -> None:
    all_fits(write_report(run))


def test_a_page_of_hostile_names_and_forty_layers_fits(nasty: Path) -> None:
    page = write_report(nasty)
    all_fits(page)
    assert page.read_text(encoding="utf-8").count('class="block"') == 40 * 5


def runs_of(folder: Path, kind: str) -> list[Path]:
    """Twelve runs of a kind, or one."""
    found = []
    for i in range(1 if kind == "one" else 12):
        run = folder / (f"{i} {NASTY[i % 4]}" if kind == "nasty" else f"run-{i}").replace("/", "-")[:60]
        run.mkdir(parents=True)
        speed = {"same": 2.0, "nasty": 0.3 + 4.1 * i, "near": 1.9 + 0.003 * i, "one": 1.5}[kind]
        delta = {"same": -0.5, "nasty": -30.0 + 3 * i, "near": -1 + 0.01 * i, "one": 0.2}[kind]
        made = small_results(
            **as_fast(speed, speed * 0.9, speed * 1.1), difference=difference(delta, delta - 1, delta + 1)
        )
        bleu = 30.0 + (i if kind == "nasty" else i / 100 if kind == "near" else 0)
        sides = {
            "dense": replace(made.dense, scores=scores(bleu)),
            "pruned": replace(made.pruned, scores=scores(bleu + delta)),
        }
        content = replace(made, **sides).to_dict()
        names = {"model": LONG if kind == "nasty" else "m", "train": NASTY[i % 6] if kind == "nasty" else "a.en/a.de"}
        (run / "results.json").write_text(json.dumps(content))
        (run / "run.json").write_text(json.dumps({"corpus": {"test": "0123"}, "model": "m", "names": names}))
        found.append(run)
    return found


@pytest.mark.parametrize("kind", ["nasty", "same", "near", "one"])
def test_a_comparison_fits_and_its_labels_do_not_overlap(tmp_path: Path, kind: str) -> None:
    runs = runs_of(tmp_path / "runs", kind)
    page = write_comparison(compare(runs), tmp_path / "comparison.html")
    for seen in all_fits(page):
        assert seen["rows"] == len(runs)
    text = page.read_text(encoding="utf-8")
    labels = " ".join(re.findall(r'<text class="halo"[^>]*>([^<]*)</text>', text))
    if kind == "nasty":  # far enough apart to be told from each other; their dense models are not
        assert labels.split() == [*map(str, range(1, 13)), "dense", "of", "1–12"]
    elif kind == "one":
        assert labels.split() == ["1", "dense"]
    else:
        assert labels == {"same": "1–12 dense", "near": "1–12 dense of 1–12"}[kind]


def analysis(layers: int, points: int) -> dict[str, Any]:
    """What `tprune analyze` finds in a model of so many layers, made up."""
    attention = [f"{side}.{axis}" for side in ("q_proj", "k_proj", "v_proj", "out_proj") for axis in ("in", "out")]
    inner = [f"self_attn.{name}" for name in attention] + [
        f"{fc}.{axis}" for fc in ("fc1", "fc2") for axis in ("in", "out")
    ]
    cross = [f"encoder_attn.{name}" for name in attention]
    names = [
        f"model.{stack}.layers.{layer}.{name}"
        for stack in ("encoder", "decoder")
        for layer in range(layers)
        for name in [*inner, *(cross if stack == "decoder" else [])]
    ]
    reading = [{"zero": 1.0 if i else 0.0, "shrunk": 1.0, "norms": [0.5, 0.4, 0.1]} for i in range(points)]

    def component_of(name: str) -> dict[str, Any]:
        matrix, _, axis = name.rpartition(".")
        found = {"kind": "lines", "groups": 1024, "norms": [1.0, 0.9, 0.8], "path": reading, "zero": 0.5}
        return {**found, "name": name, "site": site_from_name(name), "matrix": matrix, "axis": axis}

    advice = {
        "leave": False,
        "cut": "units",
        "realisation": "structured",
        "keep": 0.123,
        "relative": 123.45,
        "axis": "together",
    }
    return {
        "made": {
            "model": f"models/{LONG}",
            "data": f"{LONG}.en/{LONG}.de",
            "command": f"tprune analyze {LONG}",
            "commit": None,
            "machine": {"cpu": "a cpu", "cores": 2},
            "versions": {"tprune": "0"},
        },
        "advice": [{**advice, "sublayer": f"decoder {i} cross", "why": NASTY[i % 6]} for i in range(12)],
        "warnings": list(NASTY),
        "components": [component_of(name) for name in names] + [{**component_of(f"model.{LONG}.ffn"), "kind": "ffn"}],
        "telling": points - 1,
        "loss": 2.0,
        "path": [{"strength": 0.001 * 1.3**i, "step": i, "loss": 2.0 + 0.01 * (i % 3)} for i in range(points)],
    }


@pytest.mark.parametrize(("layers", "points"), [(2, 1), (40, 15)])
def test_an_analysis_fits(tmp_path: Path, layers: int, points: int) -> None:
    page = write_page(tmp_path / "analysis.html", analysis(layers, points))
    for seen in all_fits(page):
        assert seen["rows"] == 12 + 2 * layers


def test_the_measuring_finds_what_it_is_to_find(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        """<!doctype html><body><div style="overflow-x:auto"><p style="width:900px">wide</p></div><p style="font-size:8px">small</p>
        <p style="width:50px">unbreakableunbreakable</p><table><tbody><tr><td style="display:none">gone</td></tr></tbody></table>
        <svg viewBox="0 0 100 40" width="300"><text x="2" y="20" font-size="9">one</text><text x="9" y="20" font-size="9">two</text>
        <text x="95" y="30" font-size="9">three</text></svg><svg viewBox="0 0 1000 40" width="300"><text y="20" font-size="12">tiny</text></svg>""",
        encoding="utf-8",
    )
    (seen,) = measured(page, (375,))
    said = "\n".join(seen["faults"])
    for fault in (
        "outside the window: P  wide",
        "hides what does not fit: DIV",
        "too small: P  small",
        "text outside its box: P  unbreak",
        "not shown: TD",
        'overlaps "one": text  two',
        "cut off by its drawing: text  three",
        "too small: text  tiny",
    ):
        assert fault in said, said


def test_the_page_is_light_or_dark_and_readable_in_both(run: Path) -> None:
    page = write_report(run)
    light, dark = (measured(page, (800,), *o)[0] for o in ((), ("--blink-settings=preferredColorScheme=0",)))
    for found in (light, dark):
        assert contrast(found["ink"], found["paper"]) > 7
    assert light["paper"] != dark["paper"]


def test_a_screenshot_is_no_blank_sheet(run: Path) -> None:
    page, picture = write_report(run), run / "page.png"
    browse(page, f"--screenshot={picture}", "--window-size=900,2000", "--hide-scrollbars")
    assert picture.stat().st_size > 40_000  # an empty one has some 5,000 bytes


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of luminances."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
