"""Masks of single images: our learner beside the authors' loop, on the same network and images.

    python benchmarks/image_masks.py                            quick profile's VGG11, 32×32, 64 images
    python benchmarks/image_masks.py --network full             VGG11 at full width, 128×128, 5 images
    python benchmarks/image_masks.py --network colour           a residual network, 96×96×3, 64 images
    python benchmarks/image_masks.py --network lite0 --folder PHOTOS --most 2000
    python benchmarks/image_masks.py --variants fast "their loop from 0.95"      how far theirs agrees with itself

In one process. What either leaves of the objective **above 1**, its least value, is compared, image by image: taken
afterwards, by one formula, from the masks. Theirs is walked for all images at once, each stopped by their own rule
(`authors_loop.py`); how long one takes is timed on a few images, one at a time, as their code runs them.
"""
import argparse
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from authors_loop import MOST, many, one
from networks import NUMBER, network_and_images

from fourier_mask.basis import RealFourier
from fourier_mask.descent import Newton, Problem, descend
from fourier_mask.device import computing, free_memory, frozen, peak_mb
from fourier_mask.form import Layout
from fourier_mask.goal import Keep, cost, cross_entropy
from fourier_mask.learn import learn_image_masks
from fourier_mask.learner import saved_bytes
from fourier_mask.part import Filter
from fourier_mask.prepare import prepared, source_of
from fourier_mask.spectrum import radial_energy

WEIGHT = 0.07
ASKED = 0.95  # a step of 64 masks, of the bare passes


@torch.no_grad()
def quality(network, x, y, masks, weight=WEIGHT):
    "Objective above 1, sparsity, and whether the prediction is kept: of a mask for each image, or one for all."
    masks, passes = masks.to(x.device), []
    for rows in torch.arange(len(x), device=x.device).split(32):
        own = masks if len(masks) == 1 else masks[rows]
        passes.append((network(x[rows]), network(torch.fft.ifft2(own * torch.fft.fft2(x[rows])).real)))
    clean, masked = (torch.cat(outputs).double() for outputs in zip(*passes, strict=True))
    change = F.cross_entropy(masked, y, reduction="none") - F.cross_entropy(clean, y, reduction="none")
    sparsity = masks.double().mean((1, 2, 3))
    return cost(change) + weight * sparsity, sparsity, clean.argmax(1) == masked.argmax(1)


def problem_of(ready, x, y):
    basis = RealFourier(tuple(x.shape[2:])).to(x.device)
    problem = Problem(ready, Layout(basis).to(x.device), Filter(), Keep(), cross_entropy, WEIGHT)
    return problem, source_of(ready, basis, x, y, torch.arange(len(x)))


def synchronized(call, device) -> float:
    "Seconds."
    began = time.perf_counter()
    call()
    if device.type == "cuda": torch.cuda.synchronize()
    return time.perf_counter() - began


def step_cost(network, x, y, size: int, rounds: int, precision: str = "float32"):
    """A step of the learner against the network's own forward pass and back to the image, at one batch size: ratio,
    milliseconds of both, and megabytes that autograd keeps. Seven steps less two, so that what is done once is not in;
    no mask leaves the batch. The least of the rounds, since whatever else the machine does only adds."""
    rows = torch.arange(size) % len(x)
    x, y, steps, taken = x[rows].contiguous(), y[rows], 5, []

    def bare():
        for _ in range(steps):
            leaf = x.clone().requires_grad_()
            torch.autograd.grad(F.cross_entropy(network(leaf), y, reduction="sum"), leaf)

    with computing("float32"), frozen(network), prepared(network, x, precision=precision) as ready:
        problem, source = problem_of(ready, x, y)
        theta = torch.ones(size, 1, len(problem.layout), device=x.device)
        walk = lambda n: descend(problem, source, theta, Newton(steps=n, tolerance=-1.0), size, look=9, fill=size >= 4)
        for _ in range(rounds):
            calls = bare, lambda: walk(2), lambda: walk(2 + steps)
            taken.append([synchronized(call, x.device) for call in calls])
        kept = saved_bytes(problem, source, theta.clone()) / 1e6
    least, few, more = (min(column) for column in zip(*taken, strict=True))
    return (more - few) / least, 1000 * least / steps, 1000 * (more - few) / steps, kept


def overlap(first, other):
    "Share of the entries above 0.05 in either mask that both have, mean over masks."
    one_, two = first > 0.05, other > 0.05
    return ((one_ & two).sum((1, 2, 3)) / (one_ | two).sum((1, 2, 3)).clamp(min=1)).mean().item()


def differences(first, other) -> tuple[float, float, float]:
    "By how much the sizes of masks differ, as a share; their energies in eight rings; the same, mean over the masks."
    size, size_of_other = first.mean((1, 2, 3)), other.mean((1, 2, 3))
    share = 2 * (size - size_of_other).abs() / (size + size_of_other).clamp(min=1e-30)
    apart = (radial_energy(first, n=8) - radial_energy(other, n=8)).mean(1)
    return share.mean().item(), apart.abs().amax(1).mean().item(), apart.mean(0).abs().max().item()


def with_threads(count: int, call):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try: return call()
    finally: torch.set_num_threads(before)


VARIANTS = {"fast": {}, "two starts": dict(starts=2), "another start": dict(initial="random", seed=1),
            "bf16": dict(precision="bf16"), "other threads": {}, "in another order": {},
            "batches of 16": dict(batch_size=16), "batches of 5": dict(batch_size=5), "their loop from 0.95": {}}


def theirs_from(start: float, network, x, y):
    "The authors' loop from another start, told as our sets of masks are."
    with frozen(network), computing("float32"): masks, steps, met = many(network, x, y, weight=WEIGHT, start=start)
    return SimpleNamespace(masks=masks.cpu(), steps=steps, converged=met)


def variants(network, x, y, authors, theirs, names):
    """Our learner under several names, a line for each beside the first, or their loop from another start beside their
    masks; masks, objectives and seconds of the first."""
    other_threads, first = 1 if torch.get_num_threads() > 1 else 2, None
    reference, size, _ = theirs
    print(f"\n{'':18}{'ms a mask':>10}{'steps':>7}{'settled':>8}{'kept':>7}   above 1, of theirs: mean (of means) worst"
          f"   > 1.10  > 1.25   size   support as first, largest difference, objective; size, ring of one, ring of all")
    for name in names:
        options = VARIANTS[name]
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)) if "order" in name \
            else torch.arange(len(x))
        ours = lambda rows=rows, options=options: learn_image_masks(
            network, x[rows], y[rows], weight=WEIGHT, progress=False, **options)[rows.argsort()]
        learn = (lambda: theirs_from(0.95, network, x, y)) if "their" in name else ours
        began = time.perf_counter()
        masks = with_threads(other_threads, learn) if "threads" in name else learn()
        took = time.perf_counter() - began
        value, sparsity, kept = quality(network, x, y, masks.masks)
        first = first or (masks.masks, value, took)
        ratio, beside = value / reference, (authors, reference) if "their" in name else first
        print(f"{name:18}{1000 * took / len(x):10.1f}{masks.steps.float().mean():7.1f}{int(masks.converged.sum()):8}"
              f"{100 * kept.float().mean():6.1f} %{value.mean() / reference.mean():25.4f} ({ratio.mean():.3f})"
              f"{ratio.max():8.3f}{int((ratio > 1.1).sum()):8}{int((ratio > 1.25).sum()):8}"
              f"{sparsity.mean() / size.mean():8.3f}{100 * overlap(beside[0], masks.masks):10.1f} %"
              f"{(masks.masks - beside[0]).abs().max():12.2g}{value.mean() / beside[1].mean():12.4f}"
              f"{''.join(f'{each:10.3f}' for each in differences(beside[0], masks.masks))}", flush=True)
    return first


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=tuple(NUMBER), default="quick")
    parser.add_argument("--folder", help="of photographs, for lite0")
    parser.add_argument("--images", type=int, help=f"how many; if not given {NUMBER}")
    parser.add_argument("--most", type=int, default=MOST, help="steps of the authors' loop, at most; theirs is 20,000")
    parser.add_argument("--theirs", help="file for the authors' masks: read if it is there, else written")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS)[:-1],
                        help="of our learner, the first is what the others are compared with; or their own loop again")
    parser.add_argument("--timed", type=int, default=2, help="images on which the authors' loop is timed, one by one")
    parser.add_argument("--rounds", type=int, default=9, help="timings of a step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    network, x, y = network_and_images(args.network, args.images or NUMBER[args.network], args.device, args.folder)
    print(f"{args.network}, {'×'.join(map(str, x.shape[1:]))}, {len(x)} images, {args.device}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}, {free_memory(x.device) / 1e9:.0f} GB free\n")
    costs = {}
    for size in {"quick": (1, 16, 64), "colour": (1, 16, 64)}.get(args.network, (1, 4)):
        for precision in ("float32", "bf16"):
            costs[size, precision], bare, ours, kept = step_cost(network, x, y, size, args.rounds, precision)
            print(f"a step of {size:3} masks in {precision:8} {ours:8.1f} ms, {costs[size, precision]:5.2f} × the bare "
                  f"passes ({bare:.1f} ms); autograd keeps {kept / size:6.2f} MB an image", flush=True)
    with frozen(network), computing("float32"):
        began = time.perf_counter()
        if args.theirs and Path(args.theirs).exists(): masks, steps, met = torch.load(args.theirs, weights_only=True)
        else: masks, steps, met = many(network, x, y, args.most, WEIGHT)
        if args.theirs: torch.save((masks, steps, met), args.theirs)
        slow, few, count = time.perf_counter() - began, 300, min(args.timed, len(x))
        timed = [synchronized(lambda i=i: one(network, x[i : i + 1], y[i : i + 1], few, WEIGHT), x.device) / few
                 for i in range(count)]
        theirs = quality(network, x, y, masks)
        each = sum(timed) / count * steps.float().mean().item()
        print(f"\nauthors' loop, one at a time: {each:.2f} s a mask "
              f"({1000 * sum(timed) / count:.1f} ms a step on {count} "
              f"images, {steps.float().mean():.0f} steps in the mean, {steps.min()} to {steps.max()}); all at once "
              f"{slow:.0f} s\n{int(met.sum())} of {len(x)} met the rule; above 1: {theirs[0].mean():.3e}, "
              f"sparsity {theirs[1].mean():.5f}, predictions kept {100 * theirs[2].float().mean():.1f} %")
    first = variants(network, x, y, masks.cpu(), theirs, args.variants)
    times = each * len(x) / first[2]
    print(f"\n{times:.0f} times as many masks a second as the authors' loop; largest memory {peak_mb()} MB")
    if args.device == "cuda": print(f"largest memory on the GPU {torch.cuda.max_memory_allocated() / 1e6:.0f} MB")
    ratio = costs.get((64, "float32"))
    if ratio and ratio > ASKED:
        raise SystemExit(f"a step of 64 masks costs {ratio:.2f} × the bare passes; {ASKED} is asked")
    value = (first[1].mean() / theirs[0].mean()).item()
    if value > 1: raise SystemExit(f"our masks leave {value:.3f} of what theirs leave above 1; at most 1 is asked")


if __name__ == "__main__":
    main()
