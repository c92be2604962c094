"""What is no regular file, or no file of sentences by its size, is refused before it is opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tprune.data.parallel import read_lines
from tprune.recipe.reader import read_recipe
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.regular_file import largest_file, regular_bytes


def test_pipes_devices_folders_and_sockets_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, what in (
            ("pipe", "a named pipe"),
            ("folder", "a folder"),
            ("socket", "a socket"),
            ("/dev/zero", "a device"),
        ):
            path = tmp_path / name
            for read in (read_lines, read_recipe):
                with pytest.raises(InputError, match=rf"{name}: cannot be read \({what}\); expected "):
                    read(path)
            with pytest.raises(InputError, match=what):
                read_lines(f"{path}")


def test_a_file_larger_than_memory_is_refused_and_a_link_to_a_small_one_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 41)
    with pytest.raises(InputError, match=r"huge: 2,199,023,255,552 bytes; expected a text file, of at most [\d,]+$"):
        read_lines(tmp_path / "huge")
    assert 1 << 28 < largest_file() < 1 << 41
    (tmp_path / "small").write_text("a cat\n")
    (tmp_path / "link").symlink_to("small")
    assert read_lines(tmp_path / "link") == ("a cat",)
    assert regular_bytes(tmp_path / "small", "a text", most=6) == b"a cat\n"
    with pytest.raises(InputError, match="6 bytes; expected a text, of at most 5"):
        regular_bytes(tmp_path / "small", "a text", most=5)


def test_a_name_of_any_bytes_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.en")
    path.write_text("a cat\n")
    assert read_lines(path) == ("a cat",)
    path.write_text("a cat\n\n")
    with pytest.raises(InputError, match=r"caf\\udce9\.en: line 2 is empty"):
        read_lines(path)
    write_json(tmp_path / "run.json", {"out": str(path), "ü": 1})
    assert read_json(tmp_path / "run.json") == {"out": str(path), "ü": 1}
    with pytest.raises(InputError, match=r"cannot be read \(.*null"):
        read_lines("a\0b")
