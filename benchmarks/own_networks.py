"""Masks of large networks from a library, at 224×224×3: memory, a step beside the bare passes, batch size, estimate.

    python benchmarks/own_networks.py                              three of timm's, each in a process of its own
    python benchmarks/own_networks.py --network resnet50           one of them, in this process

Random weights, since what a step costs does not depend on them; how many steps a mask takes does. The images are
crops of photographs that scikit-image brings.

**A step** is told beside the network's own forward pass and back to the image, both for a batch. **The batch size**
that the learner finds is told beside the one at which an image costs least, of those tried. **The estimate** is
what `fourier-mask learn --dry-run` says of a pass over all images, times the passes that the masks turned out to
take, each step up to a multiple of four images; and the same from their own first ten steps. **Memory** is the
largest of the whole process.
"""
import argparse
import math
import subprocess
import sys
import time
import warnings

import torch
from image_masks import step_cost
from torchvision.transforms import v2

from fourier_mask.device import peak_mb
from fourier_mask.imagenet import photographs
from fourier_mask.learn import learn_image_masks
from fourier_mask.learner import find_batch_size, parts_of
from fourier_mask.models import Normalized
from fourier_mask.own_masks import amount, measured_cost
from fourier_mask.settings import ImageMaskSettings

NETWORKS = ("vit_base_patch16_224", "convnext_tiny", "resnet50")
SIZE = 224
MOST_GB, MOST_STEP, FROM_BEST, OFF = 8, 1.0, 0.2, 0.25  # asked


def crops(n: int) -> torch.Tensor:
    "Parts of the photographs that may be shown, in [0, 1]."
    photos = list(photographs().values())
    cut = v2.Compose([v2.RandomResizedCrop(SIZE, antialias=True), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return torch.stack([cut(photos[i % len(photos)]) for i in range(n)])


def network_of(name: str) -> Normalized:
    import timm

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Normalized.from_timm(timm.create_model(name)).eval()


def learned(model, images, **changes):
    "Masks, and the seconds that they took."
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masks = learn_image_masks(model, images, "predicted", progress=False, **changes)
    return masks, time.perf_counter() - began


def passed(steps: torch.Tensor) -> int:
    "Images that have passed while these masks took so many steps side by side: each time up to a multiple of four."
    left = [int((steps >= number).sum()) for number in range(1, int(steps.max()) + 1)]
    return sum(4 * math.ceil(each / 4) for each in left)


def measure(name: str, n: int, steps: int, rounds: int, sizes: list[int]) -> list[str]:
    "Print what there is to say of a network; what is not as it is asked."
    model, images, missed = network_of(name), crops(n), []
    found = find_batch_size(model, images, ImageMaskSettings(), parts_of((SIZE, SIZE)))
    print(f"\n{name}: {sum(weight.numel() for weight in model.parameters()) / 1e6:.0f} million weights, "
          f"{n} images, {torch.get_num_threads()} threads; batches of {found} found", flush=True)
    masks, took = learned(model, images, steps=steps)
    passes, memory = passed(masks.steps), peak_mb()
    print(f"{n} masks: {took:.0f} s, {masks.steps.float().mean():.1f} steps each ({masks.steps.min()} to "
          f"{masks.steps.max()}), {passes} images passed up to fours, "
          f"{int(masks.converged.sum())} settled, size {masks.sparsity.mean():.5f}, predictions kept "
          f"{100 * masks.prediction_kept.mean():.0f} %, objective {masks.objective.mean():.6f}; largest memory "
          f"{memory} MB", flush=True)
    if memory > 1000 * MOST_GB: missed.append(f"memory {memory} MB")
    cost = measured_cost(model, [(image, None) for image in images])
    _, first = learned(model, images, steps=10)
    for what, each in (("a pass", cost["seconds_a_pass"] / n), ("ten steps", first / (10 * n))):
        share = each * passes / took
        print(f"estimate from {what}: {each * passes:.0f} s of the {took:.0f} s, {share:.2f}; activations of a batch "
              f"{amount(cost['bytes_a_batch'])}", flush=True)
        if abs(share - 1) > OFF: missed.append(f"the estimate from {what} is {share:.2f} of the time")
    y, each = masks.predictions, {}
    for size in sorted({*sizes, found}):
        with torch.no_grad(): x = model.center(images)
        ratio, bare, ours, kept = step_cost(model.model, x, y, size, rounds, "float32")
        each[size] = ours / size
        print(f"a step of {size:3}: {ours:8.0f} ms, {each[size]:6.0f} an image, {ratio:5.2f} × the bare passes "
              f"({bare:.0f} ms); autograd keeps {kept / size:.0f} MB an image", flush=True)
        if size == found and ratio > MOST_STEP: missed.append(f"a step costs {ratio:.2f} × the bare passes")
    if each[found] > (1 + FROM_BEST) * min(each.values()):
        missed.append(f"batches of {found} cost {each[found] / min(each.values()):.2f} × the best")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", help="any of timm's at this size; the three, one after another, if not given")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200, help="of a mask, at most")
    parser.add_argument("--rounds", type=int, default=2, help="timings of a step")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 16], help="batches tried beside the one found")
    args = parser.parse_args()
    if args.network is None:
        ends = [subprocess.run([sys.executable, *sys.argv, "--network", name], check=False) for name in NETWORKS]
        raise SystemExit(max(end.returncode for end in ends))
    if missed := measure(args.network, args.images, args.steps, args.rounds, args.sizes):
        raise SystemExit("; ".join(missed))


if __name__ == "__main__":
    main()
