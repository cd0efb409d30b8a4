"""Masks of EfficientNet-Lite, as trained on ImageNet, on a folder of photographs: share kept, size, time, memory.

    python benchmarks/photographs.py --folder PHOTOS                    Lite0, all of them
    python benchmarks/photographs.py --folder PHOTOS --number 2 --n 200
    python benchmarks/photographs.py --folder PHOTOS --out masks.zarr   keeps the masks, and goes on where it was

Where names begin with the number of a class, 012_….jpg, it is told how often the network is right. Nothing of the
photographs is kept or shown.
"""
import argparse
import re
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import Subset

from fourier_mask.device import on_threads, peak_mb
from fourier_mask.imagenet import efficientnet_lite
from fourier_mask.images import ImageFiles
from fourier_mask.mask_folder import store_image_masks
from fourier_mask.mask_set import MaskSet
from fourier_mask.spectrum import radial_energy


def classes_of_names(files: list[Path]) -> torch.Tensor | None:
    "The number that each name begins with, if all do."
    found = [re.match(r"(\d+)_", file.name) for file in files]
    return None if None in found else torch.tensor([int(each[1]) for each in found])


def told(name: str, values: torch.Tensor) -> str:
    low, middle, high = values.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
    return f"{name}: mean {values.mean():.3g}, median {middle:.3g}, 5 to 95 %: {low:.3g} to {high:.3g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, type=Path, help="of photographs")
    parser.add_argument("--number", type=int, default=0, help="of EfficientNet-Lite: 0, 1 or 2")
    parser.add_argument("--n", type=int, help="photographs, evenly from the folder; all if not given")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="folder of masks; a temporary one if not given")
    args = parser.parse_args()
    model = efficientnet_lite(args.number)
    images = ImageFiles(args.folder, model.reading)
    n = min(args.n or len(images), len(images))
    rows = [i * len(images) // n for i in range(n)]
    with tempfile.TemporaryDirectory() as temporary, on_threads(args.threads):
        out, began = args.out or Path(temporary) / "masks.zarr", time.perf_counter()
        store_image_masks(out, model, Subset(images, rows), "predicted", progress=False)
        took, masks = time.perf_counter() - began, MaskSet.load(out)
    side, size = masks.masks.shape[-1], masks.settings["batch_size"]
    print(f"EfficientNet-Lite{args.number}, {n} photographs, {side}×{side}×3, {args.threads} threads, "
          f"batches of {size}: {took:.0f} s, {took / n:.2f} s a mask, largest memory {peak_mb()} MB")
    given = classes_of_names([images.files[row] for row in rows])
    if given is not None: print(f"right about {100 * (masks.predictions == given).float().mean():.1f} %")
    print(f"predictions kept {100 * masks.prediction_kept.mean():.2f} %, settled {int(masks.converged.sum())}, "
          f"steps {masks.steps.float().mean():.1f} ({masks.steps.min()} to {masks.steps.max()})")
    print(told("size, share of the plane", masks.sparsity))
    print(told("entries above 0.05", (masks.masks > 0.05).float().mean((1, 2, 3))))
    print(told("objective above 1", masks.objective - 1))
    energy = radial_energy(masks.masks[:, 0], 8).mean(0)
    print("energy in eight rings, zero frequency to the corner:", " ".join(f"{each:.3f}" for each in energy.tolist()))


if __name__ == "__main__":
    main()
