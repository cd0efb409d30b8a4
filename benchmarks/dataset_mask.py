"""What a pass of the data-set mask costs, beside the bare network and beside the authors' loop; what it finds.

    python benchmarks/dataset_mask.py                        quick profile's VGG11, 32×32, 256 images
    python benchmarks/dataset_mask.py --network colour       a residual network, 96×96×3

A pass sees all images once and ends in one solved step. All are timed in turn in one process, the least of the rounds
of each, since whatever else the machine does only adds. Then the mask is learned: passes, objective above 1 beside that
of the authors' loop after as many passes and after more, and what order, batches and threads change.
"""
import argparse
import time

import torch
import torch.nn.functional as F
from authors_loop import filtered
from image_masks import overlap, quality, synchronized, with_threads
from networks import network_and_images

from fourier_mask.basis import RealFourier
from fourier_mask.dataset_mask import learn_dataset_mask
from fourier_mask.descent import Newton, Problem, descend
from fourier_mask.device import computing, frozen
from fourier_mask.form import Layout
from fourier_mask.goal import Keep, cross_entropy
from fourier_mask.part import Filter
from fourier_mask.prepare import prepared, source_of

WEIGHT = 0.2
ASKED = 0.95  # a pass, of the bare passes


def bare_pass(network, x, y, batch: int, weights: bool = False):
    "Forward and backward of the network alone over all images, to the image, and to the weights too if asked."
    for p in network.parameters(): p.requires_grad_(weights)
    for images, labels in zip(x.split(batch), y.split(batch), strict=True):
        leaf = images.clone().requires_grad_()
        F.cross_entropy(network(leaf), labels).backward()
    network.zero_grad(set_to_none=True)
    for p in network.parameters(): p.requires_grad_(False)


def authors_pass(network, x, y, mask, optimizer, order):
    "The authors' loop: one image at a time, the full plane, the clean loss anew at each step."
    for i in order:
        image, label = x[i : i + 1], y[i : i + 1]
        with torch.no_grad(): clean = F.cross_entropy(network(image), label)
        change = F.cross_entropy(network(filtered(image, mask)), label) - clean
        loss = torch.exp(change**2) + WEIGHT * mask.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad(): mask.clamp_(0, 1)


def authors_mask(network, x, y, passes: int):
    "So many passes of their loop with their one-cycle, stretched over them, at their peak rate; seconds."
    mask = torch.ones(x.shape[-2:], device=x.device, requires_grad=True)
    steps, generator = passes * len(x), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam([mask], 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    optimizer.register_step_post_hook(lambda *_: schedule.step() if schedule.last_epoch + 1 < steps else None)
    began = time.perf_counter()
    for _ in range(passes):
        authors_pass(network, x, y, mask, optimizer, torch.randperm(len(x), generator=generator).tolist())
    return mask.detach()[None, None], time.perf_counter() - began


def pass_cost(network, x, y, batch: int, rounds: int):
    "A pass with its step against the bare passes: milliseconds of each, by name."
    device = x.device
    basis = RealFourier(tuple(x.shape[2:])).to(device)
    mask = torch.ones(x.shape[-2:], device=device, requires_grad=True)
    slow, few = torch.optim.Adam([mask], 1e-3), min(len(x), 8)
    with prepared(network, x) as ready:
        source = source_of(ready, basis, x, y, torch.zeros(len(x), dtype=torch.long), batch)
        problem = Problem(ready, Layout(basis).to(device), Filter(), Keep(), cross_entropy, WEIGHT)
        theta = torch.ones(1, 1, len(problem.layout), device=device)
        walk = lambda n: descend(problem, source, theta, Newton(steps=n, tolerance=-1.0), batch, look=9)
        calls = {
            "bare": lambda: bare_pass(network, x, y, batch), "weights": lambda: bare_pass(network, x, y, batch, True),
            "two": lambda: walk(2), "five": lambda: walk(5),
            "authors": lambda: authors_pass(network, x, y, mask, slow, range(few)),
        }
        taken = {name: min(synchronized(call, device) for _ in range(rounds)) for name, call in calls.items()}
    return {
        "bare network, to the image": 1000 * taken["bare"],
        "bare network, to the weights too": 1000 * taken["weights"],
        "one pass of the mask, with its step": 1000 * (taken["five"] - taken["two"]) / 3,
        "authors' loop, the same images": 1000 * taken["authors"] * len(x) / few,
    }


def variants(network, x, y, batch: int):
    "Masks learned otherwise, beside the first; prints a line for each."
    first, threads = None, torch.get_num_threads()
    asked = {"fast": {}, "in another order": {}, "batches of 5": dict(batch_size=5), "bf16": dict(precision="bf16"),
             f"{2 if threads == 1 else 1} threads": {}}
    for name, options in asked.items():
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)) if "order" in name \
            else torch.arange(len(x))
        learn = lambda rows=rows, options=options: learn_dataset_mask(
            network, x[rows], y[rows], weight=WEIGHT, progress=False, **dict(batch_size=batch) | options)
        began = time.perf_counter()
        masks = with_threads(2 if threads == 1 else 1, learn) if "threads" in name else learn()
        took = time.perf_counter() - began
        value, sparsity, kept = quality(network, x, y, masks.masks, WEIGHT)
        first = first or (masks.masks, value.mean(), masks.steps.item())
        print(f"{name:18}{took:8.1f} s{masks.steps.item():5} passes, settled {bool(masks.converged)}, above 1 "
              f"{value.mean():.5f} ({value.mean() / first[1]:.4f} of the first), size {sparsity.item():.4f}, "
              f"kept {100 * kept.float().mean():.1f} %, support as first {100 * overlap(first[0], masks.masks):.1f} %",
              flush=True)
    return first


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("quick", "full", "colour"), default="quick")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64, help="images that pass at once")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each")
    parser.add_argument("--passes", type=int, nargs="*", default=[20, 100], help="of the authors' loop; theirs is 100")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    network, x, y = network_and_images(args.network, args.images, args.device)
    print(f"{args.network}, {'×'.join(map(str, x.shape[1:]))}, {len(x)} images, batches of {args.batch}, "
          f"{args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    with frozen(network), computing("float32"):
        costs = pass_cost(network, x, y, args.batch, args.rounds)
        bare = costs["bare network, to the image"]
        for name, ms in costs.items():
            print(f"{name:36} {ms:9.1f} ms   {ms / bare:6.2f} × the bare passes to the image")
        print()
        first = variants(network, x, y, args.batch)
        for passes in args.passes:
            mask, took = authors_mask(network, x, y, passes)
            value, sparsity, kept = quality(network, x, y, mask, WEIGHT)
            print(f"authors' loop     {took:8.1f} s{passes:5} passes, above 1 {value.mean():.5f} "
                  f"({value.mean() / first[1]:.4f} of the first), size {sparsity.item():.4f}, "
                  f"kept {100 * kept.float().mean():.1f} %", flush=True)
            if passes >= 100 and value.mean() < first[1]:
                raise SystemExit(f"our mask leaves {first[1] / value.mean():.3f} of what theirs leaves; 1 is asked")
    ratio = costs["one pass of the mask, with its step"] / bare
    if ratio > ASKED: raise SystemExit(f"a pass of the mask costs {ratio:.2f} × the bare passes; {ASKED} is asked")


if __name__ == "__main__":
    main()
