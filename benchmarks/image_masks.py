"""Masks of single images: our learner beside a plain implementation of the authors' loop, on the same network and images.

    python benchmarks/image_masks.py                      quick profile's VGG11, 32×32, 64 images (some 15 minutes)
    python benchmarks/image_masks.py --network full       VGG11 at full width, 128×128, fewer images

In one process. The authors' loop takes one image at a time and stops by their rule: 300 steps in a row in which the squared
difference of the losses moves by at most 1e-6 and the norm by at most 1e-5, with the prediction as at the start. Three passes
a step: forward, back to the image, and forward again for the prediction. The objective of either is measured afterwards, by
one formula, in the same way. Fashion5 enlarged to 128×128 stands in for the paper's images; the full network is trained for one epoch.
"""
import argparse
import resource
import statistics
import time
from dataclasses import replace

import torch
import torch.nn.functional as F

from fourier_mask import learn_image_masks
from fourier_mask.data import Data, Images, fashion5, front_of_each
from fourier_mask.device import free_memory, frozen
from fourier_mask.learn import SCHEDULES, image_settings, learn_together, mask_bar, saved_bytes
from fourier_mask.models import resnet18
from fourier_mask.study import PROFILES, Study
from fourier_mask.train import predict, train_network

WEIGHT = 0.07


class Counted(torch.nn.Module):
    "Counts the images that pass through a network, forward and back."

    def __init__(self, network):
        super().__init__()
        self.network, self.forward_images, self.backward_images = network, 0, 0

    def forward(self, x):
        self.forward_images += len(x)
        if x.requires_grad: self.backward_images += len(x)
        return self.network(x)


def authors_mask(network, x, y, most):
    "One image, as the authors' code does it; returns the mask, the steps and whether its rule was met."
    with torch.no_grad(): clean = network(x)
    loss_clean, said = F.cross_entropy(clean, y), clean.argmax(1)
    mask = torch.ones(x.shape[-2:], device=x.device, requires_grad=True)
    optimizer = torch.optim.Adam([mask], lr=0.2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, epochs=20_000, steps_per_epoch=200, pct_start=0.1)
    count, last = 0, None
    for step in range(1, most + 1):
        change = (F.cross_entropy(network(torch.fft.ifft2(mask * torch.fft.fft2(x)).real), y) - loss_clean) ** 2
        norm = mask.abs().sum() / mask.numel()
        (torch.exp(change) + WEIGHT * norm).backward()
        optimizer.step(); optimizer.zero_grad(); schedule.step()
        with torch.no_grad():
            mask.clamp_(0, 1)
            now = change.item(), norm.item()
            same = network(torch.fft.ifft2(mask * torch.fft.fft2(x)).real).argmax(1) == said
            if last and same: count = count + 1 if abs(now[0] - last[0]) <= 1e-6 and abs(now[1] - last[1]) <= 1e-5 else 0
        last = now
        if count == 300: return mask.detach(), step, True
    return mask.detach(), most, False


@torch.no_grad()
def quality(network, x, y, masks, weight=WEIGHT):
    "Objective, sparsity and whether the prediction is kept, for masks of either kind: one for each image, or one for all."
    masks = masks.to(x.device)
    clean, masked = (torch.cat([network(part) for part in images.split(32)]) for images in (x, torch.fft.ifft2(masks * torch.fft.fft2(x)).real))
    change = (F.cross_entropy(masked, y, reduction="none") - F.cross_entropy(clean, y, reduction="none")) ** 2
    sparsity = masks.mean((1, 2, 3))
    return torch.exp(change) + weight * sparsity, sparsity, clean.argmax(1) == masked.argmax(1)


def rounding(network, x, y, threads):
    "Sizes of a batch, of 1 to 16, in which an image's gradient has other last bits than in a batch of 16."
    def gradient(n):
        leaf = x[:n].clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(network(leaf), y[:n], reduction="sum"), leaf)[0]

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = gradient(16)
        return [n for n in range(1, 17) if not torch.equal(gradient(n), whole[:n])]
    finally: torch.set_num_threads(before)


def networks(kind, n, device):
    "A network and n images that it classifies correctly, centred."
    if kind == "quick":
        study = Study("quick", progress=True, device=device)
        model, data = study.network("natural"), study.data
    else:
        small = fashion5(1000, 500)
        large = lambda part: Images(F.interpolate(part.images, size=128, mode="bilinear", antialias=True).clamp(0, 1), part.labels)
        data = Data("fashion5 at 128×128", small.classes, large(small.train), large(small.val))
        settings = PROFILES["paper"].train.model_copy(update=dict(epochs=dict.fromkeys(PROFILES["paper"].train.epochs, 1), batch_size=32))
        settings = settings.model_copy(update=dict(attack=settings.attack.model_copy(update=dict(eval_images=5, eval_steps=1))))  # its robustness plays no part
        model, _ = train_network(data, "natural", settings, device=device)
    right = (predict(model, data.val.images, 64).argmax(1) == data.val.labels).nonzero().flatten()
    rows = right[front_of_each(data.val.labels[right], n)]
    x, y = data.val.images[rows].to(device), data.val.labels[rows].to(device)
    with torch.no_grad(): x = model.center(x)
    return model.model.eval(), x, y


def step_cost(network, x, y, size, rounds):
    "A step of the learner against the bare passes at the same batch size: median ratio, and milliseconds of both."
    x, y = x[:1].expand(size, -1, -1, -1).contiguous(), y[:1].expand(size)
    settings, taken = image_settings(steps=6, tolerance=0.0, weight=WEIGHT, batch_size=size), []
    def bare():
        for _ in range(6):
            leaf = x.clone().requires_grad_()
            torch.autograd.grad(F.cross_entropy(network(leaf), y), leaf)

    def ours():  # six steps, and two forward passes, without masks and with the finished ones, which are taken out again
        with mask_bar(size, False) as bar: learn_together(network, x, y, settings, bar)

    def forward():
        with torch.no_grad(): network(x); network(x)

    for number in range(rounds + 1):
        times = []
        for call in (bare, ours, forward):
            began = time.perf_counter(); call()
            if x.device.type == "cuda": torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        if number: taken.append(times)
    ratio = statistics.median((o - f) / b for b, o, f in taken)
    return ratio, 1000 * statistics.median(b for b, _, _ in taken) / 6, 1000 * statistics.median(o - f for _, o, f in taken) / 6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("quick", "full"), default="quick")
    parser.add_argument("--images", type=int, help="how many; 64 for quick, 5 for full")
    parser.add_argument("--most", type=int, default=20_000, help="steps of the authors' loop, at most; theirs is 20,000")
    parser.add_argument("--rounds", type=int, default=5, help="timings of a step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    n = args.images or (64 if args.network == "quick" else 5)
    network, x, y = networks(args.network, n, args.device)
    counted = Counted(network)
    print(f"VGG11, {args.network}, {x.shape[-2]}×{x.shape[-1]}, {len(x)} images, {args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with frozen(network):
        print(f"\nstep against the bare forward and backward, and memory that autograd keeps ({free_memory(x.device) / 1e9:.0f} GB free)")
        for size in (1, 16, 64, 128) if args.network == "quick" else (1, 4, 16):
            ratio, bare, ours = step_cost(network, x, y, size, args.rounds)
            kept = saved_bytes(network, x[:1].expand(size, -1, -1, -1), 1) / 1e6
            print(f"  batch {size:4}: {ours:8.1f} ms a step, {ours / size:6.2f} ms a mask, {ratio:5.2f} × the bare passes ({bare:.1f} ms); {kept:8.1f} MB, {kept / size:6.2f} MB an image")

        if args.device == "cpu" and len(x) >= 16:
            other = resnet18(int(y.max()) + 1, width=0.5, size=tuple(x.shape[-2:])).eval()
            print("\nsizes of a batch whose rounding is not that of 16 images: " + "; ".join(f"{name}, {n} threads: {rounding(net, x, y, n)}" for name, net in (("VGG11", network), ("ResNet18", other)) for n in (1, 2, 4, 8)))

        began, theirs, steps, met = time.perf_counter(), [], [], []
        for i in range(len(x)):
            mask, step, rule = authors_mask(counted, x[i : i + 1], y[i : i + 1], args.most)
            theirs.append(mask); steps.append(step); met.append(rule)
        slow = time.perf_counter() - began
        passes = (counted.forward_images + counted.backward_images) / len(x)
        reference, sparsity, kept = quality(network, x, y, torch.stack(theirs)[:, None])
        print(f"\nauthors' loop: {slow / len(x):.2f} s a mask, {statistics.mean(steps):.0f} steps ({min(steps)} to {max(steps)}), {passes:.0f} passes a mask, "
              f"{sum(met)} of {len(met)} met its rule, objective {reference.mean():.6f}, sparsity {sparsity.mean():.5f}, predictions kept {100 * kept.float().mean():.1f} %")

        first, scores = None, {}
        SCHEDULES["limit of 5"] = replace(SCHEDULES["fast"], limit=5.0)
        for name, options in (("fast", {}), ("in another order", {}), ("batches of 16", dict(batch_size=16)), ("batches of 5", dict(batch_size=5)), ("bf16", dict(precision="bf16")), ("limit of 5", dict(schedule="limit of 5"))):
            counted = Counted(network)
            rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)) if "order" in name else torch.arange(len(x))
            began = time.perf_counter()
            masks = learn_image_masks(counted, x[rows], y[rows], weight=WEIGHT, progress=False, **options)[rows.argsort()]
            took = time.perf_counter() - began
            value, size, same = quality(network, x, y, masks.masks)
            excess = (value - 1) / (reference - 1)
            first = masks.masks if first is None else first
            support, other = first > 0.05, masks.masks > 0.05
            overlap = ((support & other).sum((1, 2, 3)) / (support | other).sum((1, 2, 3)).clamp(min=1)).mean()
            scores[name] = took
            print(f"\n{name} (batches of {masks.settings['batch_size']}): {took / len(x):.3f} s a mask, {slow / took:.0f} times as many a second; {masks.steps.float().mean():.0f} steps, "
                  f"{(counted.forward_images + counted.backward_images) / len(x):.0f} passes a mask; {int(masks.converged.sum())} of {len(x)} settled\n"
                  f"  objective / theirs: mean {value.mean() / reference.mean():.6f}, worst {(value / reference).max():.6f}, over 1.10: {int((value / reference > 1.1).sum())}\n"
                  f"  what exceeds 1 / theirs: mean {(value - 1).mean() / (reference - 1).mean():.4f}, worst {excess.max():.2f}, over 1.10: {int((excess > 1.1).sum())} of {len(x)}\n"
                  f"  sparsity / theirs {size.mean() / sparsity.mean():.3f}; predictions kept {100 * same.float().mean():.1f} %; support shared with the first row {100 * overlap:.1f} %, largest difference {(masks.masks - first).abs().max():.2g}")
    print(f"\nlargest memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB; schedule {SCHEDULES['fast']}")
    if args.device == "cuda": print(f"largest memory on the GPU {torch.cuda.max_memory_allocated() / 1e6:.0f} MB")
    asked = 300 if args.device == "cuda" else 25 if args.network == "quick" else 0  # large images fill a processor by themselves
    if (times := slow / scores["fast"]) < asked: raise SystemExit(f"only {times:.0f} times as many masks a second as the authors' loop; {asked} are asked")


if __name__ == "__main__":
    main()
