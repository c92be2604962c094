"""Makes the dense models with their data: a BERT trained on SST-2, the Llama stories260K, and ResNet-20 on CIFAR-10.

    python -m benchmarks.other_tasks.dense --data DATA --models MODELS --out runs/other-tasks

`DATA` holds `sst2`, `stories260K` and `cifar10_jpeg`, `MODELS` holds `resnet_cifar10`. Each becomes a folder with the
model and with the files of its data; what is there already is left alone.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.other_tasks.bert_sst2 import make_bert
from benchmarks.other_tasks.resnet import ResNet
from benchmarks.other_tasks.stories import read_stories
from tprune.realise.checkpoint import save
from tprune.tasks.sampling import sampled_sequences

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGES = {"train": 20_000, "valid": 1_000}  # of the training archive, no image in both
SEQUENCES = {"train": (4000, 1), "valid": (100, 2), "test": (400, 3)}  # number and seed
LENGTH = 128  # tokens


def make_llama(data: Path, out: Path) -> None:
    """stories260K, and sequences that it writes itself with fixed seeds: its own text is the best there is for it."""
    model = read_stories(data / "stories260K.bin")
    for split, (count, seed) in SEQUENCES.items():
        rows = sampled_sequences(model, count, LENGTH, seed).ids
        text = "".join(json.dumps({"input_ids": list(row)}) + "\n" for row in rows)
        (out / f"{split}.jsonl").write_text(text, encoding="utf-8")
    model.save_pretrained(out)


def make_resnet(data: Path, models: Path, out: Path) -> None:
    """ResNet-20 with images of the training archive, drawn evenly; the test archive is used as it is."""
    model = ResNet()
    model.load_state_dict(load_file(models / "resnet20.safetensors"))
    save(model.eval(), out)
    with tarfile.open(data / "train.tar.xz") as archive:
        files = ((member.name, archive.extractfile(member)) for member in archive if member.isfile())
        content = sorted((name, file.read()) for name, file in files if file is not None)
    total = sum(IMAGES.values())
    picked = [content[i * len(content) // total] for i in range(total)]
    every = total // IMAGES["valid"]
    sets = {"valid": picked[::every], "train": [one for i, one in enumerate(picked) if i % every]}
    for split, chosen in sets.items():
        with tarfile.open(out / f"{split}.tar", "w") as archive:
            for name, raw in chosen:
                member = tarfile.TarInfo("/".join(Path(name).parts[-2:]))
                member.size = len(raw)
                archive.addfile(member, io.BytesIO(raw))
    (out / "test.tar.xz").write_bytes((data / "test.tar.xz").read_bytes())
    settings = {"image_mean": MEAN, "image_std": STD, "size": {"height": 32, "width": 32}, "do_resize": False}
    (out / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")


def main() -> None:
    """Makes what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "models", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    asked = parser.parse_args()
    makers = {
        "llama": lambda out: make_llama(asked.data / "stories260K", out),
        "resnet": lambda out: make_resnet(asked.data / "cifar10_jpeg", asked.models / "resnet_cifar10", out),
        "bert": lambda out: make_bert(asked.data / "sst2", out),
    }
    for name, make in makers.items():
        out = asked.out / name
        if not (out / "config.json").exists():
            out.mkdir(parents=True, exist_ok=True)
            make(out)
            print(f"{out}: made", flush=True)


if __name__ == "__main__":
    main()
