"""What stands for onnxruntime on the fake device: a graph takes as long as its file is large, or does what it says."""

import os
import time
from pathlib import Path

__version__ = "1.20.0"


class SessionOptions:
    def add_session_config_entry(self, name: str, value: str) -> None:
        pass


class InferenceSession:
    def __init__(self, path: str, options: SessionOptions, providers: list[str]) -> None:
        self.content = Path(path).read_bytes()
        if b"broken" in self.content:
            raise RuntimeError("Load model failed: Protobuf parsing failed.")
        print("a library that prints is no reply")

    def run(self, outputs: list[str], feeds: dict) -> None:
        if b"killed" in self.content:
            os.kill(os.getpid(), 9)
        if b"hangs" in self.content:
            time.sleep(60)
        if b"warms" in self.content:
            sys, root = Path("sys"), Path(os.environ["ROOT"])
            for core in range(4, 8):
                (root / sys / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq").write_text("1900000\n")
            (root / sys / "class/thermal/thermal_zone1/temp").write_text("78500\n")
        time.sleep(len(self.content) / 1e6)
