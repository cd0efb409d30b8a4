"""What a step of the dataset-mask learner costs, beside the bare network and beside the authors' loop.

    python benchmarks/dataset_mask.py [--batch 64] [--rounds 15]

All are timed in turn in one process, so that a drifting machine hits all alike; ratios are medians over rounds.
"""
import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from fourier_mask.data import fashion5
from fourier_mask.dataset_mask import epochs_of, learner_step, start
from fourier_mask.device import frozen
from fourier_mask.study import PROFILES
from fourier_mask.train import new_network


def seconds(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def bare_passes(network, x, y, weights: bool):
    "Forward and backward of the network alone, to the image, and to the weights too if asked."
    x = x.clone().requires_grad_()
    for p in network.parameters(): p.requires_grad_(weights)
    F.cross_entropy(network(x), y).backward()
    network.zero_grad(set_to_none=True)


def authors_steps(network, x, y, mask, optimizer):
    "The authors' loop on the same images: one at a time, the full plane, the clean loss anew at each step."
    for image, label in zip(x.split(1), y.split(1), strict=True):
        masked = torch.fft.ifft2(mask * torch.fft.fft2(image)).real
        with torch.no_grad(): clean = F.cross_entropy(network(image), label)
        loss = torch.exp((F.cross_entropy(network(masked), label) - clean) ** 2) + 0.2 * mask.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad(): mask.clamp_(0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--rounds", type=int, default=15, help="timings of each")
    args = parser.parse_args()
    torch.manual_seed(0)
    data, settings = fashion5(n_train=500, n_val=max(args.batch, 5)), PROFILES["quick"].train
    model = new_network(data, settings).to(memory_format=torch.channels_last).eval()
    with frozen(model):
        epoch, logits_of = epochs_of(model, data.val.images, data.val.labels, args.batch, None)
        x, y, ce, _ = next(iter(epoch()))
        layer, optimizer, schedule = start(x, 1, 0.05, 10_000)
        mask = torch.ones(data.size, requires_grad=True)
        slow = torch.optim.Adam([mask], 1e-3)
        calls = {
            "bare network, to the image": lambda: bare_passes(model.model, x, y, False),
            "bare network, to the weights too": lambda: bare_passes(model.model, x, y, True),
            "one step of the mask": lambda: learner_step(layer, optimizer, schedule, logits_of, x, y, ce, 0.2, 1),
            "authors' loop, the same images": lambda: authors_steps(model.model, x, y, mask, slow),
        }
        taken = {name: [] for name in calls}
        for number in range(args.rounds + 2):
            for name, call in calls.items():
                for p in model.parameters(): p.requires_grad_(False)
                took = seconds(call)
                if number >= 2: taken[name].append(took)
    base = taken["bare network, to the image"]
    ratio = lambda values: statistics.median(a / b for a, b in zip(values, base, strict=True))
    ratios = {name: ratio(values) for name, values in taken.items()}
    print(f"VGG11 at half width, 32×32, batch {args.batch}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, {args.rounds} rounds")
    for name, values in taken.items():
        middle = 1000 * statistics.median(values)
        print(f"{name:34} {middle:8.1f} ms   {ratios[name]:6.2f} × the bare passes to the image")
    if ratios["one step of the mask"] > 1.15:
        raise SystemExit("a step of the mask costs more than 1.15 × the bare passes")


if __name__ == "__main__":
    main()
