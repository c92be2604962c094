"""Replays the golden outputs of a bundle where it is going to run; needs numpy and onnxruntime, and no tprune."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime from 1.29: a device id in the user's cache folder
