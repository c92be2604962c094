"""Runs bundles of tprune where they are used: checks, translates, classifies; needs numpy, onnxruntime and tokenizers.

Checking needs no tokenizers; some translation models need sentencepiece.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime from 1.29: a device id in the user's cache folder
