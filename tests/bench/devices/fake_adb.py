"""The command line of Android's `adb`, for a device that is a folder: a script that tests put on the PATH.

`FAKE_ADB` names its home. There, `state.json` says which devices are listed in which state, and what fails; `root` is
the device's file system: its shell is ours, run on commands whose absolute paths are turned into those below `root`.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_ADB"])
ROOT = HOME / "root"
OURS = ("/data/local/tmp", "/sys/", "/proc/")


def fail(message: str, code: int = 1) -> None:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def state() -> dict:
    return json.loads((HOME / "state.json").read_text())


def on_device(text: str) -> str:
    for prefix in OURS:
        text = text.replace(prefix, f"{ROOT}{prefix}")
    return text


def check(serial: str) -> None:
    found = state()["devices"].get(serial)
    if found is None:
        fail(f"error: device '{serial}' not found")
    if found == "unauthorized":
        fail("error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set")
    if found != "device":
        fail(f"error: device {found}")


def trouble(command: str) -> None:
    """What is to fail at this command, and after how many like it."""
    now = state()
    for what in ("unplug", "hang"):
        text, after = now.get(what, ["", 0])
        if text and text in command:
            (HOME / "state.json").write_text(json.dumps(now | {what: [text, after - 1]}))
            if after <= 0 and what == "hang":
                time.sleep(60)
            if after <= 0:
                (HOME / "state.json").write_text(json.dumps(now | {"devices": {}}))
                raise SystemExit(255)  # the connection broke: adb says nothing


def shell(words: list[str]) -> int:
    command = " ".join(words)  # as adb does: words are not kept apart
    trouble(command)
    paths = f"{ROOT / 'bin'}:{os.environ['DEVICE_PATH']}"
    environment = {"PATH": paths, "PYTHONPATH": str(ROOT / "site"), "ROOT": str(ROOT)}
    code = subprocess.run(["/bin/sh", "-c", on_device(command)], env=environment, cwd=ROOT).returncode
    if not state().get("codes", True):
        return 0
    return code if code >= 0 else 128 - code


def copy(source: str, target: str, room: bool) -> None:
    try:
        if not room:
            fail(f"adb: error: failed to copy '{source}' to '{target}': remote couldn't create file: No space left")
        shutil.copyfile(source, target)
    except OSError as error:
        fail(f"adb: error: failed to copy '{source}': {error.strerror}")
    print(f"{source}: 1 file")


def main(arguments: list[str]) -> int:
    if arguments[0] == "devices":
        if state().get("server", True) is False:
            fail("adb: failed to check server version: cannot connect to daemon")
        print("* daemon not running; starting now at tcp:5037\n* daemon started successfully")
        print("List of devices attached")
        for serial, what in state()["devices"].items():
            print(f"{serial:22s} {what} usb:1-4 transport_id:1")
        print()
        return 0
    _, serial, verb, *words = arguments
    check(serial)
    if verb == "get-state":
        print("device")
    elif verb == "shell":
        return shell(words)
    elif verb == "push":
        trouble(f"push {words[1]}")
        copy(words[0], on_device(words[1]), state().get("room", True))
    elif verb == "pull":
        copy(on_device(words[0]), words[1], True)
    else:
        fail(f"adb: unknown command {verb}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
