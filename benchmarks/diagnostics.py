"""Maps of sensitivity, beside the bare network's forward pass on as many images.

    python benchmarks/diagnostics.py                      VGG11 at half width, 32×32, 512 images, all frequencies
    python benchmarks/diagnostics.py --folder PHOTOS      EfficientNet-Lite0, 224×224×3, 100 photographs, 15×15 waves

Random weights for VGG11: what a map costs does not depend on them. The bare pass is timed before and after the map, on
batches of the same size, frozen, without slopes, in float32; the better of the two counts. Memory is the largest of the
process before the map and after it.
"""
import argparse
import time
from pathlib import Path

import torch
from torch.utils.data import Subset

from fourier_mask.device import choose_device, frozen, peak_mb
from fourier_mask.imagenet import efficientnet_lite
from fourier_mask.images import ImageFiles, read_images
from fourier_mask.models import Normalized, vgg11
from fourier_mask.sensitivity import SignWave, UnitWave, sensitivity_map

MOST_SECONDS, LEAST_SHARE = 60, 0.9  # asked of VGG11


def network_and_images(folder: Path | None, n: int, device):
    if folder is None:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return Normalized(vgg11(5, width=0.5, size=(32, 32)), 0.5, 0.25).to(device), torch.rand(n, 1, 32, 32)
    model = efficientnet_lite(0).to(device)
    files = ImageFiles(folder, model.reading)
    return model, read_images(Subset(files, [i * len(files) // n for i in range(n)]), model=model)[0]


@torch.no_grad()
def bare(model, images, batch_size: int, passes: int) -> float:
    "Images a second."
    began = time.perf_counter()
    for _ in range(passes):
        for x in images.split(batch_size): model(x.to(next(model.parameters()).device)).argmax(1).cpu()
    return passes * len(images) / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="of photographs, for EfficientNet-Lite0")
    parser.add_argument("--n", type=int, help="images; 512, or 100 photographs, if not given")
    parser.add_argument("--grid", type=int, help="frequencies in a row and in a column; all, or 15 of photographs")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="float32", choices=("float32", "tf32", "bf16"), help="of the map")
    parser.add_argument("--device")
    args = parser.parse_args()
    n, grid = args.n or (100 if args.folder else 512), args.grid or (15 if args.folder else None)
    model, images = network_and_images(args.folder, n, choose_device(args.device))
    missed = []
    with frozen(model):
        for name, wave in (("heat map", UnitWave(0.07 if args.folder else 0.125)), ("single Fourier", SignWave())):
            before, memory = bare(model, images, args.batch_size, 3), peak_mb()
            began = time.perf_counter()
            found = sensitivity_map(model, images, wave=wave, grid=grid, batch_size=args.batch_size,
                                    precision=args.precision, progress=False)
            took = time.perf_counter() - began
            fastest = max(before, bare(model, images, args.batch_size, 3))
            rows, columns = found.share.shape
            self_paired = 2 - rows % 2
            asked = rows * columns if not wave.even else (rows - self_paired) // 2 * columns \
                + self_paired * (columns // 2 + 1)
            share = asked * n / took / fastest
            print(f"{name}: {asked} waves × {n} images in {took:.1f} s, {torch.get_num_threads()} threads, "
                  f"{asked * n / took:.0f} images a second, {100 * share:.0f} % of the bare network's {fastest:.0f}; "
                  f"largest memory {memory} MB before, {peak_mb()} MB after", flush=True)
            if args.folder is None and wave.even and took > MOST_SECONDS: missed.append(f"{name} took {took:.0f} s")
            if args.folder is None and share < LEAST_SHARE: missed.append(f"{name} ran at {100 * share:.0f} %")
    if missed: raise SystemExit("; ".join(missed))


if __name__ == "__main__":
    main()
