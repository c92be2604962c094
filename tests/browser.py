"""Pages in a headless Chromium: what lies outside the window, is hidden, overlaps, or is too small to read."""

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
IN_CI = any(os.environ.get(name) for name in ("CI", "TPRUNE_CI"))  # there, a missing browser is a failure
SMALLEST = 10  # pixels of text

MEASURE = """
function faults(window, smallest) {
  const document = window.document, page = document.documentElement, wide = page.clientWidth, found = [];
  const say = (what, e) => found.push(`${what}: ${e.tagName} ${e.getAttribute("class") || ""} ${e.textContent.trim().slice(0, 60)}`);
  const inside = (r, o) => r.left >= o.left - 1 && r.right <= o.right + 1 && r.top >= o.top - 1 && r.bottom <= o.bottom + 1;
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5;
  const shown = e => e.getClientRects().length > 0;
  if (page.scrollWidth > wide) say("the page scrolls", page);
  for (const e of document.querySelectorAll("body *")) {
    if (!shown(e)) continue;
    const r = e.getBoundingClientRect(), style = window.getComputedStyle(e);
    if (r.left < -0.5 || r.right > wide + 0.5) say("outside the window", e);
    if (e.closest("svg")) {
      const svg = e.closest("svg");
      if (e !== svg && !inside(r, svg.getBoundingClientRect())) say("cut off by its drawing", e);
      if (e.tagName == "text" && parseFloat(style.fontSize) * e.getScreenCTM().a < smallest) say("too small", e);
      continue;
    }
    if (style.overflowX != "visible" || style.textOverflow == "ellipsis") say("hides what does not fit", e);
    if (e.clientWidth && e.scrollWidth > e.clientWidth + 1) say("wider than its box", e);
    if (parseFloat(style.fontSize) < smallest) say("too small", e);
  }
  for (const e of document.querySelectorAll("tbody th, tbody td, h1, dd"))
    if (e.textContent.trim() && !(e.getBoundingClientRect().width > 0 && e.getBoundingClientRect().height > 0)) say("not shown", e);
  const walk = document.createTreeWalker(document.body, 4);
  while (walk.nextNode()) {
    const parent = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || parent.closest("svg, script") || !shown(parent)) continue;
    let block = parent;
    while (window.getComputedStyle(block).display == "inline") block = block.parentElement;
    const range = document.createRange();
    range.selectNodeContents(walk.currentNode);
    for (const r of range.getClientRects()) if (r.left < block.getBoundingClientRect().left - 1 || r.right > block.getBoundingClientRect().right + 1) { say("text outside its box", block); break; }
  }
  for (const svg of document.querySelectorAll("svg")) {
    const texts = [...svg.querySelectorAll("text")].filter(shown), boxes = texts.map(t => t.getBoundingClientRect());
    for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++) if (meet(boxes[i], boxes[j])) say(`overlaps "${texts[j].textContent}"`, texts[i]);
  }
  const style = window.getComputedStyle(document.body);
  return {faults: found, ink: style.color, paper: style.backgroundColor, scripts: document.scripts.length, rows: [...document.querySelectorAll("tbody tr")].filter(shown).length};
}
onload = () => {
  const seen = [...document.querySelectorAll("iframe")].map(f => faults(f.contentWindow, SMALLEST));
  document.getElementById("seen").textContent = JSON.stringify(seen);
};
"""


def browse(page: Path, *options: str) -> str:
    """What Chromium prints for a page; it can ask nobody for anything."""
    assert CHROMIUM is not None, (
        "no Chromium is installed (Debian: apt-get install chromium), so no page can be measured"
    )
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        *options,
    ]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run([*command, profile, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def measured(page: Path, widths: Sequence[int], *options: str) -> list[dict[str, Any]]:
    """For each width what `faults` finds in a page, its details open.

    A headless window has at least 500 pixels, a frame may have less.
    """
    copy = page.with_name("measured.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("<details>", "<details open>"), encoding="utf-8")
    frames = "".join(f'<iframe src="{copy.name}" style="width:{w}px;height:4000px;border:0"></iframe>' for w in widths)
    script = f"<script>{MEASURE.replace('SMALLEST', str(SMALLEST))}</script>"
    frame = page.with_name("frame.html")
    frame.write_text(f'<!doctype html><meta charset="utf-8">{script}{frames}<pre id="seen"></pre>', encoding="utf-8")
    dom = browse(frame, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom", *options)
    seen = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert seen and seen[1], dom[-500:]
    found: list[dict[str, Any]] = json.loads(html.unescape(seen[1]))
    return found
