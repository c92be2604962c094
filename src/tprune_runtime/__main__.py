"""`python -m tprune_runtime`: checks a bundle, translates or classifies lines of standard input with it.

Ends with 0, with 1 where a check failed, with 3 where what was given is at fault, and with 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from tprune_runtime.check import check
from tprune_runtime.errors import USERS, InputError


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; wrong arguments end the process with 2."""
    given = _parser().parse_args(arguments)
    try:
        code: int = given.run(given)
    except InputError as error:
        print(f"tprune_runtime: {error}", file=sys.stderr)
        return USERS
    except BrokenPipeError:  # whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tprune_runtime", description="Runs bundles of tprune without tprune.")
    verbs = parser.add_subparsers(required=True)
    for run, about in (
        (_check, "replay the golden outputs of a bundle"),
        (_translate, "translate lines of standard input"),
        (_classify, "say the class of lines of standard input, and its probability"),
    ):
        verb = verbs.add_parser(run.__name__[1:], help=about, description=about)
        verb.add_argument("folder", type=Path, help="of the bundle: it holds manifest.json")
        verb.add_argument("--threads", type=_count, default=1, help="of one operation (default: 1)")
        if run is not _check:
            verb.add_argument("--batch", type=_count, default=8, help="lines that run at once (default: 8)")
        if run is _translate:
            verb.add_argument("--beams", type=_count, help="of the search, 1 is greedy (default: as exported)")
            verb.add_argument(
                "--stream", action="store_true", help="write words as they are found, greedily, a line at a time"
            )
        verb.set_defaults(run=run)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, at least 1")
    return int(text)


def _check(given: argparse.Namespace) -> int:
    done = failed = 0
    for line in check(given.folder, given.threads):
        done, failed = done + 1, failed + (not line.passed)
        print(f"{'ok    ' if line.passed else 'FAILED'} {line.text}", flush=True)
    print(f"{given.folder}: {f'{failed} of {done} checks failed' if failed else f'{done} checks passed'}")
    return 1 if failed else 0


def _translate(given: argparse.Namespace) -> int:
    from tprune_runtime.translator import Translator  # which imports a tokeniser

    if given.stream and given.beams not in (None, 1):
        raise InputError(f"--stream with --beams {given.beams}; expected one of them, words are found greedily")
    translator = Translator.load(given.folder, given.threads)
    for first, lines in _batches(1 if given.stream else given.batch):
        with _at(first):
            if given.stream:
                _streamed(translator.stream(lines[0]))
            else:
                for text in translator.translate(lines, given.beams, given.batch):
                    print(_one_line(text), flush=True)
    return 0


def _streamed(texts: Iterator[str]) -> None:
    """Writes what is new of growing texts; a word that changes once more is written when it is whole."""
    shown = text = ""
    for text in map(_one_line, texts):
        if text.startswith(shown) and not text.endswith("\ufffd"):  # half of a character
            print(text[len(shown) :], end="", flush=True)
            shown = text
    print("" if text == shown else f"\n{text}", flush=True)


def _classify(given: argparse.Namespace) -> int:
    from tprune_runtime.classifier import Classifier  # which imports a tokeniser

    classifier = Classifier.load(given.folder, given.threads)
    for first, lines in _batches(given.batch):
        with _at(first):
            for label in classifier.classify(lines, given.batch):
                print(f"{label.name}\t{label.probability:.4f}", flush=True)
    return 0


def _batches(size: int) -> Iterator[tuple[int, list[str]]]:
    """The lines of standard input, so many at a time, and the number of the first."""
    lines, first = (line.rstrip("\r\n") for line in sys.stdin), 1
    try:
        while some := list(islice(lines, size)):
            yield first, some
            first += len(some)
    except UnicodeDecodeError as error:
        raise InputError(f"standard input, from line {first} on: {error}; expected UTF-8") from None


@contextmanager
def _at(first: int) -> Iterator[None]:
    """Says at which line of standard input the sentences begin that an error counts."""
    try:
        yield
    except InputError as error:
        raise InputError(f"standard input, counted from line {first}: {error}" if first > 1 else str(error)) from None


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
