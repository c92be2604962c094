"""Against a script that speaks the command line of `adb`, on a device that is a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fake_phone import Phone

from tprune.bench.devices.adb import Adb
from tprune.bench.devices.device import CommandError, GoneError, device_of
from tprune.support.errors import InputError

NASTY = "a b; touch evil $(touch evil) `touch evil` 'q' \"z\" > evil & * \\ ü"


@pytest.mark.parametrize(
    ("name", "state", "text"),
    [
        ("adb", {"devices": {}}, r"^--on adb: no device; expected one with USB debugging"),
        ("adb:X", {"devices": {}}, r"^--on adb:X: no device; "),
        (
            "adb",
            {"devices": {"A": "device", "B": "unauthorized"}},
            r"^--on adb: several devices, A \(device\), B \(unauthorized\); expected --on adb:SERIAL$",
        ),
        ("adb:C", {"devices": {"A": "device"}}, r"^--on adb:C: no such device; expected one of A \(device\)$"),
        ("adb:A", {"devices": {"A": "unauthorized", "B": "device"}}, r"^adb:A: unauthorized; accept the key"),
        ("adb", {"devices": {"10.0.0.5:5555": "offline"}}, r"^adb:10.0.0.5:5555: offline; plug it in again"),
        ("adb", {"devices": {"A": "no permissions (user in plugdev group)"}}, r"^adb:A: no permissions; this user may"),
        ("adb", {"devices": {"A": "recovery"}}, r"^adb:A: recovery; expected the state device"),
        ("adb", {"codes": False}, r"^adb:R5CT: adb passes no exit codes of its shell; expected Android 7"),
        ("adb", {"server": False}, r"^adb devices: adb: failed to check server version: cannot connect to daemon; "),
        ("lunch:A", {}, r"^--on 'lunch:A': no kind of device; expected adb, folder$"),
    ],
)
def test_devices_that_cannot_be_used(phone: Phone, name: str, state: dict[str, Any], text: str) -> None:
    phone.set(**state)
    with pytest.raises(InputError, match=text) as caught:
        device_of(name)
    assert "\n" not in str(caught.value)


def test_the_device_that_is_meant(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_of("adb") == Adb("R5CT")
    phone.set(devices={"10.0.0.5:5555": "device", "R5CT": "device"})
    assert device_of("adb:10.0.0.5:5555") == Adb("10.0.0.5:5555")
    monkeypatch.setenv("ANDROID_SERIAL", "R5CT")
    assert device_of("adb") == Adb("R5CT")


def test_without_adb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^--on adb: the program adb cannot be run \(No such file or directory\)"):
        device_of("adb")


def test_shell_characters_are_data(phone: Phone, tmp_path: Path) -> None:
    device = device_of("adb")
    assert device.shell(["printf", "%s|", NASTY, ""]) == f"{NASTY}||"
    folder = f"{device.base}/{NASTY.replace('/', '-')}"
    device.shell(["mkdir", folder])
    (tmp_path / "-file").write_text("content")
    device.push(tmp_path / "-file", f"{folder}/there")
    device.pull(f"{folder}/there", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "content" and device.shell(["cat", f"{folder}/there"]) == "content"
    assert not [path for path in phone.root.rglob("*") if path.name == "evil"]


def test_exit_codes_and_signals(phone: Phone) -> None:
    device = device_of("adb")
    with pytest.raises(CommandError, match=r"^adb:R5CT: sh ended with code 3: no luck$") as caught:
        device.shell(["sh", "-c", "echo no luck >&2; exit 3"])
    assert caught.value.signal is None
    with pytest.raises(CommandError) as caught:
        device.shell(["sh", "-c", "kill -9 $$"])
    assert caught.value.signal == 9


def test_room(phone: Phone) -> None:
    device = device_of("adb")
    assert device.free(device.base) == 1_024_000_000
    phone.write("free", "what?")
    assert device.free(device.base) is None
    phone.set(room=False)
    with pytest.raises(CommandError, match=r"^adb:R5CT: push of fake_adb.py ended with code 1: .*No space left$"):
        device.push(Path(__file__).parent / "fake_adb.py", f"{device.base}/file")


def test_a_device_that_goes_or_hangs(phone: Phone) -> None:
    device = device_of("adb")
    phone.set(hang=["true", 0])
    began = time.monotonic()
    with pytest.raises(GoneError, match=r"^adb:R5CT: no answer within 1 s to true; is it plugged in, and awake\?$"):
        device.shell(["true"], seconds=1)
    assert time.monotonic() - began < 20
    phone.set(hang=["", 0], unplug=["echo", 1])
    assert device.shell(["echo", "1"]) == "1\n"
    with pytest.raises(GoneError, match=r"^adb:R5CT: unplugged, it is not listed any more$"):
        device.shell(["echo", "2"])
    phone.set(devices={"R5CT": "offline"})
    with pytest.raises(GoneError, match=r"^adb:R5CT: offline; plug it in again"):
        device.shell(["echo", "3"])
