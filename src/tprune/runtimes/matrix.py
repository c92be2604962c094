"""What runs where: one record a runtime, for `tprune runtimes` and the documentation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tprune.machine import version_of


@dataclass(frozen=True)
class Runtime:
    """What a runtime can do with a pruned model.

    Attributes:
        name: on the command line.
        package: whose version counts.
        install: how to get it.
        precisions: that it computes in.
        needs: what a folder for it is made by; empty where a checkpoint itself runs.
        timed: whether it can be timed and given a budget of milliseconds.
    """

    name: str
    package: str
    install: str
    precisions: tuple[str, ...]
    needs: str
    timed: bool

    @property
    def version(self) -> str | None:
        """The installed version; None where there is none."""
        return version_of(self.package)


RUNTIMES = (
    Runtime("onnxruntime", "onnxruntime", "pip install onnxruntime", ("fp32",), "tprune export", True),
    Runtime("transformers", "transformers", "pip install torch transformers", ("fp32", "bf16", "fp16"), "", False),
)


def matrix() -> list[dict[str, Any]]:
    """The runtimes as plain data, with the version that is installed here."""
    return [{**asdict(runtime), "version": runtime.version} for runtime in RUNTIMES]
