"""Manifests: both formats, and every way in which a file is not what it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tprune.support.manifest import Manifest, Stamp, digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "b").write_bytes(b"bbb")
    (tmp_path / "inner" / "a").write_bytes(b"aaaa")
    return tmp_path


def test_a_manifest_has_sizes_and_checksums_and_comes_back(folder: Path) -> None:
    found = Manifest.of(folder)
    assert found.to_dict() == {
        "b": {"bytes": 3, "sha256": sha256(b"bbb").hexdigest()},
        "inner/a": {"bytes": 4, "sha256": sha256(b"aaaa").hexdigest()},
    }
    assert Manifest.from_dict(found.to_dict()) == found
    assert Manifest.from_dict(found.sums()).stamps["b"] == Stamp(sha256(b"bbb").hexdigest(), None)
    assert Manifest.of(folder, [folder / "inner" / "a"]).sums().keys() == {"inner/a"}


def gone(path: Path) -> None:
    path.unlink()


def shortened(path: Path) -> None:
    path.write_bytes(b"aaa")


def flipped(path: Path) -> None:
    path.write_bytes(b"aaab")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "says", "without_sizes"),
    [
        (gone, "is missing", "is missing"),
        (shortened, "has 3 bytes instead of 4", "has changed since it was written"),
        (flipped, "has changed since it was written", "has changed since it was written"),
        (pipe, "is no file any more", "is no file any more"),
    ],
)
def test_the_first_file_that_is_not_as_it_was_is_named(
    folder: Path, spoil: Callable[[Path], None], says: str, without_sizes: str
) -> None:
    found = Manifest.of(folder)
    (folder / "mine").write_text("added, which harms nothing")
    assert found.error(folder) is None and Manifest.from_dict(found.sums()).error(folder) is None
    spoil(folder / "inner" / "a")
    assert found.error(folder) == f"inner/a {says}"
    assert Manifest.from_dict(found.sums()).error(folder) == f"inner/a {without_sizes}"
    gone(folder / "b")
    assert found.error(folder) == "b is missing"


def test_what_cannot_be_read_is_named_with_the_reason(folder: Path) -> None:
    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    assert Manifest.of(folder).error(folder, refused) == "b cannot be read (Permission denied)"


def test_the_way_a_file_is_read_can_be_given(folder: Path) -> None:
    read: list[str] = []

    def noted(path: Path) -> str:
        read.append(path.name)
        return digest(path)

    assert Manifest.of(folder, digest=noted).error(folder, noted) is None
    assert read == ["b", "a"] * 2


@pytest.mark.parametrize("data", [[1], "a", None, {"a": {"bytes": 1}}, {"a": {"bytes": 1, "sha256": "", "more": 2}}])
def test_what_is_no_manifest_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"no manifest|expected bytes and sha256"):
        Manifest.from_dict(data)


def test_a_checksum_of_another_kind_matches_nothing(folder: Path) -> None:
    assert Manifest.from_dict({"b": 3}).error(folder) == "b has changed since it was written"
