"""The matrix of runtimes and features: what is certified ran, here, within its limits; what did not is not counted."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hand_made import classifier
from onnx_models import SENTENCES, pruned_marian

from table_models import kept_by, table_model
from tprune.core.graph import BUILDS
from tprune.core.precision import INT8, Precision
from tprune.realise.shrink import shrink
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.certified import CERTIFIED, Certified, outcome_of, read_record, recorded, with_outcomes
from tprune.runtimes.coreml.engine import COREML
from tprune.runtimes.ctranslate2.engine import CTRANSLATE2
from tprune.runtimes.exercised import exercised
from tprune.runtimes.features import features_for
from tprune.runtimes.matrix import Cell, features
from tprune.runtimes.onnxruntime.engine import ONNXRUNTIME
from tprune.runtimes.openvino.engine import OPENVINO
from tprune.runtimes.report import ExportReport
from tprune.runtimes.runtime import runtimes
from tprune.support.errors import InputError

ROOT = Path(__file__).parents[2]
FOUND = {"relative": 1e-6, "rms": 1e-7, "kl": 0.0, "top1": 1.0}
ONE = Certified("onnxruntime", "fp32", "single-pass", "1.31.1", {"torch": "2.13"}, ("one pass", "batch"))


def certified(folder: Path, **changed: Any) -> Path:
    """An export of a classifier whose certificate says that it ran."""
    folder.mkdir()
    classifier(folder)
    if "parameters" in changed:  # another export
        replace(read_layout(folder), parameters=changed.pop("parameters")).write(folder)
    found = ExportCertificate.read(folder)
    whole = {"found": FOUND, "build": "single-pass", "features": ("batch", "one pass"), **changed}
    replace(found, **whole).write(folder)
    return folder


def cell(runtime: Any, precision: str, build: str, feature: str, record: Any = (), version: Any = None) -> Cell:
    lines = features((runtime,), record, version)
    (line,) = (one for one in lines if (one.precision, one.build) == (precision, build))
    return line.cells[feature]


def test_what_a_certificate_says_is_recorded(tmp_path: Path) -> None:
    one = outcome_of(certified(tmp_path / "a"))
    assert (one.key, one.features) == (("onnxruntime", "fp32", "single-pass"), ("one pass", "batch"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ran": False}, "were not run, so nothing is certified"),
        ({"found": FOUND | {"relative": 2e-4}}, "relative 0.0002, expected at most 0.0001"),
        ({"found": {}}, "relative nan"),
        ({"precision": INT8}, "the folder is one for onnxruntime in fp32"),
        ({"runtime": "openvino"}, "of an export for openvino"),
        ({"layout": "0" * 64}, "of other files than those of the folder"),
        ({"build": ""}, "says no build"),
        ({"version": None}, "says no build, features or version"),
        ({"build": "decoder-only"}, "the folder holds a model of build 'single-pass'"),
        ({"features": ("batch", "beam")}, "feature 'beam', which models of build 'single-pass' do not have"),
    ],
)
def test_what_did_not_run_within_its_limits_is_not_counted(changed: dict[str, Any], says: str, tmp_path: Path) -> None:
    folder, said = certified(tmp_path / "a", **changed), list[str]()
    with pytest.raises(InputError, match=says):
        outcome_of(folder)
    with pytest.raises(InputError, match="no certificate that certifies anything"):
        recorded(tmp_path / "record.json", [tmp_path], said.append)
    assert says in said[0] and not (tmp_path / "record.json").exists()


def test_files_that_were_changed_after_the_check_certify_nothing(tmp_path: Path) -> None:
    folder = certified(tmp_path / "a")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"model\.onnx"):
        outcome_of(folder)


def test_outcomes_of_one_toolchain_add_up_and_those_of_another_replace() -> None:
    more, newer = replace(ONE, features=("batch", "uneven heads")), replace(ONE, version="1.32.0", features=("batch",))
    (added,) = with_outcomes([ONE], [more])
    assert (added.features, added.exports) == (("one pass", "batch", "uneven heads"), 2)
    assert with_outcomes([ONE], [newer]) == (newer,)
    assert with_outcomes([ONE], [replace(ONE, toolchain={"torch": "2.14"})])[0].exports == 1


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    rows = recorded(record, [certified(tmp_path / "a"), certified(tmp_path / "b", parameters=7)], print)
    assert [one.exports for one in read_record(record)] == [2] and rows[0]["exports"] == 2
    raw = json.loads(record.read_text())
    raw["certified"][0]["features"] = ["telepathy"]
    record.write_text(json.dumps(raw))
    with pytest.raises(InputError, match="'telepathy', which is not known here"):
        read_record(record)


def test_an_export_counts_once_however_often_it_is_recorded(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    one, copy, other = (certified(tmp_path / name) for name in "abc")
    assert [row["exports"] for row in recorded(record, [one, copy], print)] == [1]
    recorded(record, [one], print)
    assert [one.exports for one in read_record(record)] == [1]
    replace(read_layout(other), parameters=7).write(other)
    assert [row["exports"] for row in recorded(record, [one, other], print)] == [2]


def test_a_record_makes_no_folders_and_names_those_that_are_missing(tmp_path: Path) -> None:
    folder = certified(tmp_path / "a")
    with pytest.raises(InputError, match=r"no such folder .*reports; expected a file in one that is there"):
        recorded(tmp_path / "reports" / "record.json", [folder], print)
    assert not (tmp_path / "reports").exists()
    with pytest.raises(InputError, match="nothing: no such folder"):
        recorded(tmp_path / "record.json", [tmp_path / "nothing"], print)


def test_cells_say_what_is_known() -> None:
    where = (ONNXRUNTIME, "fp32", "single-pass")
    assert cell(*where, "batch", [ONE]) == Cell("certified", "onnxruntime 1.31.1")
    assert cell(*where, "batch", [ONE], lambda name: "1.31.1") == Cell("certified", "onnxruntime 1.31.1")
    other = Cell("supported", "certified with onnxruntime 1.31.1")
    assert cell(*where, "batch", [ONE], lambda name: "1.32.0") == other
    assert cell(*where, "batch", [ONE], lambda name: None) == other
    assert cell(*where, "uneven heads", [ONE]) == Cell("supported")
    assert cell(ONNXRUNTIME, "bf16", "single-pass", "batch", [ONE]).detail.startswith("its kernels")
    lacks = cell(CTRANSLATE2, "int8", "encoder-decoder", "uneven heads")
    assert lacks == Cell("refused", "all attentions of a stack have one number of heads")
    wrong = Certified("coreml", "fp32", "single-pass", "9.0", {}, ("batch",))  # nothing can have made it
    assert cell(COREML, "fp32", "single-pass", "batch", [wrong]).detail.startswith("runs on iOS")


def test_a_refusal_is_stronger_than_a_certificate() -> None:
    wrong = Certified("ctranslate2", "fp32", "encoder-decoder", "4.8.5", {}, ("uneven heads",))
    assert cell(CTRANSLATE2, "fp32", "encoder-decoder", "uneven heads", [wrong]).state == "refused"


def test_cells_of_the_documentation_do_not_hang_on_this_processor() -> None:
    old = replace(OPENVINO, features=frozenset())
    assert cell(old, "int8", "single-pass", "batch").detail.startswith("this processor")
    assert cell(old.anywhere(), "int8", "single-pass", "batch") == Cell("supported")


def test_an_export_notes_what_it_was_checked_with(marian: Any) -> None:
    report = ExportReport(0.0, sentences=len(SENTENCES), steps=48)
    done = ("greedy", "beam", "steps", "batch")
    assert exercised(marian, "encoder-decoder", report) == done
    cut = ("uneven heads", "uneven units", "uneven head widths", "removed blocks")
    assert exercised(pruned_marian(marian, {}), "encoder-decoder", report) == (*done, *cut)
    marian.generation_config.update(suppress_tokens=[4, 5], renormalize_logits=True)
    assert exercised(marian, "encoder-decoder", replace(report, sentences=1, steps=0))[2:] == ("output vocabulary",)
    bert = table_model("bert-classifier")
    narrow = shrink(bert, kept_by(bert, ("width",)))
    assert exercised(narrow, "single-pass", ExportReport(0.0, inputs=4)) == ("one pass", "batch", "narrow residual")


def test_the_record_of_tprune_is_of_what_its_runtimes_do() -> None:
    record, known = read_record(), {one.name: one for one in runtimes()}
    assert len(record) > 10 and {one.runtime for one in record} <= set(known)
    assert len({one.key for one in record}) == len(record)
    for one in record:
        runtime: Any = known[one.runtime]
        runtime = runtime.anywhere() if hasattr(runtime, "anywhere") else runtime
        assert runtime.supports(Precision(one.precision), one.build) is None, one.key
        assert set(one.features) <= set(features_for(one.build)), one.key
        refused = [name for name in one.features if hasattr(runtime, "refuses") and runtime.refuses(name)]
        assert not refused and one.toolchain, one.key


def test_the_page_of_the_matrix_is_made_from_the_record() -> None:
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make_runtime_matrix.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    page = (ROOT / "docs" / "runtime-matrix.md").read_text(encoding="utf-8")
    assert page == made.page(read_record(CERTIFIED)), "run python docs/make_runtime_matrix.py"
    assert page != made.page(read_record(CERTIFIED)[1:])


@dataclass(frozen=True)
class Distant:
    """Writes a file that nothing here can run."""

    name: str = "distant"
    package: str = "numpy"
    install: str = ""
    dialect: str = "masked"
    runs_on: str = "the moon"

    def supports(self, precision: Any, skeleton: str) -> None: ...

    def multiple(self, precision: Any) -> int:
        return 1

    def toolchain(self) -> dict[str, str]:
        return {"numpy": "2"}

    def write(self, graphs: Any, folder: Path, precision: Any) -> tuple[()]:
        (folder / "model.moon").write_bytes(b"cheese")
        return ()

    def open(self, folder: Path, layout: Any, threads: int) -> Any:
        raise InputError("not here")


def test_what_is_written_for_another_system_is_not_certified(tmp_path: Path) -> None:
    from tprune.runtimes.export import export

    runtime: Any = Distant()
    report = export(table_model("resnet").float().eval(), None, tmp_path / "out", runtime=runtime)
    found = ExportCertificate.read(tmp_path / "out")
    assert not report.ran and not found.ran and not found.fresh and not found.found and not found.features
    with pytest.raises(InputError, match="were not run"):
        outcome_of(tmp_path / "out")
    (line,) = {one.cells["batch"] for one in features((runtime,), ()) if one.build in BUILDS}
    assert line == Cell("exported", "runs on the moon")
