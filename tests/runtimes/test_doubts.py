"""A certificate that is missing, of other files or failed is noticed where an exported folder is opened."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hand_made import classifier

from tprune.cli.doubts import check_certificates
from tprune.core.precision import INT8
from tprune.runtimes.artefact import layout_file
from tprune.runtimes.certificate import CERTIFICATE, ExportCertificate, MetricBound
from tprune.runtimes.doubts import doubt_of
from tprune.support.errors import InputError
from tprune.support.manifest import digest

FOUND = {"relative": 1e-6, "rms": 0.01, "kl": 0.001, "top1": 0.99}
FAR = FOUND | {"rms": 0.2}
WORSE = MetricBound("accuracy", -0.1, -0.2, -0.05, 0.02, False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    classifier(tmp_path)
    layout = layout_file(tmp_path)
    assert layout is not None
    replace(ExportCertificate.read(tmp_path), found=FOUND, layout=digest(layout)).write(tmp_path)
    return tmp_path


def test_a_certificate_of_the_files_within_its_limits_leaves_no_doubt(folder: Path) -> None:
    assert doubt_of(folder) is None


@pytest.mark.parametrize(
    ("changed", "says", "failed"),
    [
        ({"layout": "0" * 64}, "of other files", False),
        ({"ran": False, "found": {}}, "were not compared with PyTorch", False),
        ({"found": FOUND | {"relative": 1e-3}}, "relative 0.001, expected at most 0.0001", True),
        ({"found": FAR, "precision": INT8}, "farther from PyTorch than int8 may be: rms 0.2", True),
        ({"metric": WORSE}, "accuracy differs by -0.1", False),
    ],
)
def test_doubts_are_said_and_failures_refused(
    folder: Path, changed: dict[str, Any], says: str, failed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(ExportCertificate.read(folder), **changed).write(folder)
    if failed:
        with pytest.raises(InputError, match=f"{says}.*--uncertified"):
            check_certificates([folder], uncertified=False)
    check_certificates([folder, folder], uncertified=failed)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and says in said[0]


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_text("{}")])
def test_a_missing_or_damaged_certificate_is_named(folder: Path, harm: Callable[[Path], None]) -> None:
    harm(folder / CERTIFICATE)
    doubt = doubt_of(folder)
    assert doubt is not None and CERTIFICATE in doubt.said and not doubt.failed


def test_folders_that_are_not_exported_are_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_certificates([tmp_path], uncertified=False)
    assert not capsys.readouterr().err
