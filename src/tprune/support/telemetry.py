"""What libraries would report to their makers is switched off, unless the user switched it on."""

from __future__ import annotations

import os

OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime from 1.29: a device id and queued events in the user's cache folder
    "HF_HUB_DISABLE_TELEMETRY": "1",  # versions of libraries in every question to the hub
}


def switch_off() -> None:
    """Before any of the libraries is imported: they read their environment then.

    The processes started from here inherit it.
    """
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
