"The command line in a process of its own, with a store and pictures of its own."
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [str(Path(sys.prefix) / "bin" / "fourier-mask")]
SMALL = [word for pair in ("data.n_train=150", "data.n_val=60", "train.epochs=3", "mask.steps=3", "need_mb=1")
         for word in ("--set", pair)]


def environment(folder: Path) -> dict[str, str]:
    "Of a process that keeps everything below a folder."
    folders = {"FOURIER_MASK_RUNS": str(folder / "runs"), "FOURIER_MASK_FIGURES": str(folder / "figures")}
    return os.environ | folders | {"OMP_NUM_THREADS": "1", "FOURIER_MASK_DEVICE": "cpu"}


def reproduce(folder: Path, *words: str) -> subprocess.Popen:
    "Start `fourier-mask reproduce` on the smoke profile."
    words = [*COMMAND, "reproduce", *words, "--profile", "smoke", *SMALL]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return subprocess.Popen(words, env=environment(folder), cwd=ROOT, **pipes)
