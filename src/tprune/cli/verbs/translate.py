"""`tprune translate`."""

from __future__ import annotations

from pathlib import Path

from tprune.cli.console import say, stdin_lines, told
from tprune.cli.options.single import Beams, BenchThreads, Dense, Exported, PrecisionOfRun, Uncertified


def translate(
    model: Exported,
    beams: Beams = None,
    threads: BenchThreads = 1,
    precision: PrecisionOfRun = None,
    dense: Dense = False,
    uncertified: Uncertified = False,
) -> None:
    """Translate sentences from standard input to standard output, one a line, by the runtime of an exported model."""
    from tprune.run.lookup import exported_at

    where = told(model, str(exported_at(model, dense, precision and precision.value)), dense)
    from tprune.cli.doubts import check_certificates
    from tprune.data.parallel import one_line
    from tprune.runtimes.translator import Translator, cut_often

    check_certificates([Path(where)], uncertified)
    translator = Translator.load(Path(where), threads)
    found = translator.translated(stdin_lines(), beams)
    for said in found.texts:
        print(one_line(said))
    for line in cut_often(where, found.share, found.limit):
        say(f"warning: {line}")
