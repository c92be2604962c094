"""The page in a real browser, where there is one: on a phone, in the dark, and with hostile sentences."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from test_report import run as run
from tprune.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """<script>
const page = document.documentElement, wide = page.clientWidth;
const out = [...document.querySelectorAll("body *")].filter(e => !e.closest(".wide") && !e.closest("pre") && !e.closest("svg") && e.getBoundingClientRect().right > wide + 1);
page.dataset.out = out.map(e => e.tagName + " " + e.textContent.slice(0, 40)).join("; ");
page.dataset.scrolls = page.scrollWidth > wide;
page.dataset.paper = getComputedStyle(document.body).backgroundColor;
page.dataset.ink = getComputedStyle(document.body).color;
page.dataset.scripts = document.scripts.length;
</script>"""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


def browse(page: Path, *options: str) -> str:
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        *options,
    ]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run([*command, profile, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def measured(page: Path, width: int, *options: str) -> dict[str, str]:
    copy = page.with_name("measured.html")
    text = page.read_text(encoding="utf-8").replace("<details>", "<details open>")
    copy.write_text(text.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    # headless windows are not narrower than 500 pixels, a frame is
    frame = page.with_name("frame.html")
    frame.write_text(
        f'<iframe src="{copy.name}" style="width:{width}px;height:4000px;border:0"></iframe>', encoding="utf-8"
    )
    inside = '<script>onload = () => document.title = document.querySelector("iframe").contentDocument.documentElement.outerHTML.match(/<html[^>]*>/)[0]</script>'
    frame.write_text(frame.read_text(encoding="utf-8") + inside, encoding="utf-8")
    dom = browse(frame, "--allow-file-access-from-files", "--virtual-time-budget=3000", "--dump-dom", *options)
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert title, dom[:500]
    return dict(re.findall(r'data-(\w+)="([^"]*)"', title[1].replace("&quot;", '"')))


def test_the_page_fits_a_phone_and_runs_no_script(run: Path) -> None:
    page = write_report(run)
    for width in (360, 1200):
        found = measured(page, width)
        assert found["out"] == "" and found["scrolls"] == "false", found
        assert found["scripts"] == "1"  # the one that measures


def test_the_page_is_light_or_dark_and_readable_in_both(run: Path) -> None:
    page = write_report(run)
    light, dark = (measured(page, 800, *o) for o in ((), ("--blink-settings=preferredColorScheme=0",)))
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
