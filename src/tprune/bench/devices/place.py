"""The folder of a benchmark on a device: what is handed over lies there, and it is gone afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType

from tprune.bench.devices.device import Device, DeviceError
from tprune.support.activity import doing
from tprune.support.errors import InputError

SPARE = 1_000_000  # bytes that logs take


class Place:
    """A new folder below a device's base, for as long as the block lasts.

    Attributes:
        path: on the device.
        left: whether it could not be taken away again.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self.path, self.left = f"{device.base}/tprune-bench-{secrets.token_hex(4)}", False

    def __enter__(self) -> Place:
        self._device.shell(["mkdir", self.path])
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        try:
            self._device.shell(["rm", "-rf", self.path])
        except DeviceError:
            self.left = True
            if isinstance(error, DeviceError):
                raise DeviceError(f"{error}; {self.path} is left there") from None

    def hand_over(self, files: Mapping[str, Path]) -> None:
        """Copies files to the device.

        Args:
            files: local ones, by their path below the folder.

        Raises:
            InputError: there is no room for them; nothing was copied then.
            DeviceError: one cannot be copied.
        """
        needed = sum(file.stat().st_size for file in files.values()) + SPARE
        free = self._device.free(self.path)
        if free is not None and free < needed:
            raise InputError(
                f"{self._device.title}: no space: {needed:,} bytes are needed in {self._device.base}, {free:,} are free"
            )
        folders = sorted({f"{self.path}/{PurePosixPath(name).parent}" for name in files})
        self._device.shell(["mkdir", "-p", *folders])
        for number, (name, file) in enumerate(files.items()):
            with doing(f"copying to the device, {number + 1} of {len(files)} files"):
                self._device.push(file, f"{self.path}/{name}")

    def take_back(self, names: Sequence[str], folder: Path) -> None:
        """Copies what is there of these files into a folder of this machine."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            with suppress(DeviceError):  # not begun, or the device is gone
                self._device.pull(f"{self.path}/{name}", folder / name)
