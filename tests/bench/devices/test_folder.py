import time
from pathlib import Path

import pytest

from tprune.bench.devices.device import NOT_FOUND, CommandError, GoneError, device_of, has
from tprune.support.errors import InputError


def test_a_folder_as_a_device(tmp_path: Path) -> None:
    device = device_of(f"folder:{tmp_path}")
    assert device.shell(["pwd"]).strip() == device.base == str(tmp_path.resolve())
    (tmp_path / "a").write_text("x")
    device.push(tmp_path / "a", f"{device.base}/b")
    device.pull(f"{device.base}/b", tmp_path / "c")
    assert (tmp_path / "c").read_text() == "x" and (device.free(device.base) or 0) > 0
    assert has(device, "sh") and not has(device, "no-such-program")


def test_what_fails_in_a_folder(tmp_path: Path) -> None:
    for name in ("folder", "folder:", f"folder:{tmp_path}/absent"):
        with pytest.raises(InputError, match=r"no such folder; expected --on folder:PATH"):
            device_of(name)
    device = device_of(f"folder:{tmp_path}")
    with pytest.raises(CommandError, match=r"no-such-program cannot be run \(No such file or directory\)") as caught:
        device.shell(["no-such-program"])
    assert caught.value.code == NOT_FOUND
    with pytest.raises(CommandError, match=r"absent cannot be read from|b cannot be read from"):
        device.pull(f"{device.base}/absent", tmp_path / "b")
    with pytest.raises(CommandError, match=r"b cannot be written to \S*absent/b \(No such file"):
        (tmp_path / "a").write_text("x")
        device.push(tmp_path / "a", f"{device.base}/absent/b")


def test_what_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    device, began = device_of(f"folder:{tmp_path}"), time.monotonic()
    with pytest.raises(GoneError, match=r"no answer within 1 s to sh -c"):
        device.shell(["sh", "-c", "(sleep 4; touch late) & sleep 60"], seconds=1)
    assert time.monotonic() - began < 20
    time.sleep(4)
    assert not (tmp_path / "late").exists()
