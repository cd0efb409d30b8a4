"""Company: several processes that want the same result, folder or item at the same time.

Each of them ends well, the work is done once where it is the same, and readers get a whole result or none.
"""
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from faults.outcome import Outcome
from faults.processes import ROOT, environment, reproduce
from fourier_mask.mask_set import MaskSet

NETWORK = """
import sys
import torch
from torch import nn
from fourier_mask.mask_folder import store_image_masks
from fourier_mask.mask_set import MaskSet
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
images = torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(0))
"""
LEARN = "store_image_masks(sys.argv[1], network, images, shard_size=2, progress=False)\n"
SAVE = """
import sys
from fourier_mask.mask_set import MaskSet
masks = MaskSet.load(sys.argv[1])
for _ in range(20): masks.save(sys.argv[2], overwrite=True)
"""
READ = """
import sys
from fourier_mask.mask_set import MaskSet
wanted, seen = MaskSet.load(sys.argv[1]).masks, 0
while seen < 20:
    try: got = MaskSet.load(sys.argv[2]).masks
    except (FileNotFoundError, ValueError): continue  # it was replaced meanwhile, and what came of that is refused
    assert (got == wanted).all()
    seen += 1
"""


def processes(folder: Path, *programs: tuple[str, ...]) -> list[tuple[int, str]]:
    "Exit codes and what they said, of programs that run side by side."
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    started = [subprocess.Popen([sys.executable, "-c", *program], env=environment(folder), cwd=ROOT, **pipes)
               for program in programs]
    return [(process.wait(timeout=300), process.stdout.read()) for process in started]


def folders_of_masks(folder: Path) -> Iterator[Outcome]:
    "Two learners of one folder; a reader beside a writer."
    together, alone = folder / "together.zarr", folder / "alone.zarr"
    ends = processes(folder, *[(NETWORK + LEARN, str(together))] * 3)
    processes(folder, (NETWORK + LEARN, str(alone)))
    equal = torch.equal(MaskSet.load(together).masks, MaskSet.load(alone).masks)
    good = equal and not any(code for code, _ in ends)
    yield Outcome("three learners of one folder", "mended" if good else "failed", str(ends) if not good else "equal")
    saved = folder / "saved.zarr"
    MaskSet.load(alone).save(saved)
    ends = processes(folder, (SAVE, str(alone), str(saved)), (READ, str(alone), str(saved)))
    good = not any(code for code, _ in ends)
    yield Outcome("a set saved twenty times while it is read", "mended" if good else "failed", str(ends))


def items(folder: Path) -> Iterator[Outcome]:
    "Two runs of one item, and two items that need the same network."
    for names in (("fig_02", "fig_02"), ("fig_01", "fig_A1")):
        place = folder / "-".join(names)
        started = [reproduce(place, name) for name in names]
        ends = [(process.communicate()[0], process.returncode) for process in started]
        made = len(list((place / "runs").glob("network/*/record.json")))
        left = list(place.rglob("*.part"))
        wanted = {name for name in names if list((place / "figures").glob(f"smoke/*/{name}/run.json"))}
        good = not any(code for _, code in ends) and wanted == set(names) and not left
        yield Outcome(f"two runs at once, of {' and '.join(names)}", "mended" if good else "failed",
                      f"{made} networks made; left: {left}" if good else str(ends))


def tried(with_items: bool = True) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as temporary:
        yield from folders_of_masks(Path(temporary))
        if with_items: yield from items(Path(temporary))
