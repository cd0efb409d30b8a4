"""How the cost of masks of single images grows: with images, size and workers; and what fifty thousand would take.

    python benchmarks/scaling.py                  measured here, some 6 minutes on two cores
    python benchmarks/scaling.py --device cuda    the same on a GPU
    python benchmarks/scaling.py --tflops 100     what one GPU is taken to reach in the extrapolation

Three things are measured on this machine, each in processes of one thread (on a GPU: in one process): seconds and
memory of masks against the number of images, against their size, and against the number of Dask workers. What is beyond
this machine is **modelled**, and marked so: a mask costs the bare network's forward and backward, times the learner's
steps and overhead measured here; W workers divide that; network and shards are sent once. Start-up and reading the
images are not in the model. ResNet18 takes a stem of stride 1 below 64 pixels, and so costs more at 32 than at 64.
Writes scaling.png and scaling.csv to figures/benchmarks.
"""
import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import pandas as pd
import torch
import torch.nn.functional as F

from fourier_mask import store_image_masks
from fourier_mask.cluster import connect
from fourier_mask.device import computing, frozen, on_device, peak_mb
from fourier_mask.learn import learn_image_masks
from fourier_mask.learner import saved_bytes
from fourier_mask.models import ARCHITECTURES
from fourier_mask.store import checksums, figures_folder

matplotlib.use("agg")
STEPS = 40  # of a mask: fewer than it takes, since here all masks take the same number, so that runs compare
TYPICAL_STEPS = 34  # mean over 64 images, `benchmarks/image_masks.py`
TYPICAL_PASSES = 24  # of a natural network's data-set mask, `benchmarks/dataset_mask.py`
CLASSES = 5


def network(name: str, size: int, width: float, channels: int = 1):
    torch.manual_seed(0)
    return ARCHITECTURES[name](CLASSES, channels, width, (size, size)).eval()


def images(n: int, size: int, channels: int = 1):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))


def learn(model, x, batch: int, client=None, path=None):
    "Masks of x, all for the same number of steps; seconds."
    labels = torch.arange(len(x)) % CLASSES
    settings = dict(steps=STEPS, tolerance=0, batch_size=batch, progress=False)
    began = time.perf_counter()
    if path is None: learn_image_masks(model, x, labels, client=client, **settings)
    else: store_image_masks(path, model, x, labels, shard_size=batch, client=client, **settings)
    return time.perf_counter() - began


def measured(name: str, n: int, size: int, width: float, batch: int, device: str) -> dict:
    "In a process of its own: seconds a mask, its memory, and the bare passes' seconds an image."
    import warnings

    warnings.simplefilter("ignore")  # none of these masks settles, on purpose
    if device == "cpu": torch.set_num_threads(1)
    model, x = network(name, size, width).to(device), images(n, size)
    learn(model, x[: min(n, batch)], batch)  # warm
    seconds = learn(model, x, batch)
    leaf, y = x[:batch].to(device), (torch.arange(min(n, batch)) % CLASSES).to(device)
    bare = []
    with frozen(model):
        for _ in range(5):
            began = time.perf_counter()
            part = leaf.clone().requires_grad_()
            with computing("float32"): torch.autograd.grad(F.cross_entropy(model(part), y), part)
            if device != "cpu": torch.cuda.synchronize()
            bare.append(time.perf_counter() - began)
        kept = saved_bytes(model, leaf[:1].expand(2, -1, -1, -1), 1) - saved_bytes(model, leaf[:1], 1)
    peak = torch.cuda.max_memory_allocated() / 1e6 if device != "cpu" else peak_mb()
    return dict(
        network=name,
        images=n,
        size=size,
        batch=batch,
        seconds=seconds,
        ms_per_mask_step=1000 * seconds / n / STEPS,
        bare_ms=1000 * sorted(bare)[2] / len(leaf),
        peak_mb=peak,
        kept_mb_per_image=kept / 1e6,
    )


def alone(*arguments) -> dict:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool: return pool.submit(measured, *arguments).result()


def with_workers(
    counts: list[int], size: int, width: float, n: int, batch: int, rounds: int, device: str
) -> list[dict]:
    "Masks a second of Dask workers of one thread, against one such process without Dask; whether the stores are equal."
    rows, x = [], images(n, size)
    for number in range(rounds):
        sums = []
        with TemporaryDirectory() as folder:
            for workers in [0, *counts]:
                path = f"{folder}/{workers}.zarr"
                if workers:
                    with connect(workers=workers) as client:
                        model = network("vgg11", size, width).to(device)
                        # workers import torch with their first task
                        learn(model, x[: batch * workers], batch, client, f"{path}.warm")
                        seconds = learn(model, x, batch, client, path)
                else:
                    model = network("vgg11", size, width).to(device)
                    learn(model, x[:batch], batch, None, f"{path}.warm")
                    seconds = learn(model, x, batch, None, path)
                sums.append(checksums(Path(path)))
                rows.append(
                    dict(
                        round=number,
                        workers=workers,
                        images=n,
                        size=size,
                        seconds=seconds,
                        masks_per_s=n / seconds,
                        equal=sums[-1] == sums[0],
                    )
                )
    return rows


def flops(name: str, size: int, channels: int) -> float:
    "Floating-point operations of a pass forward and back to the image, counted by torch; no numbers are computed."
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision import models

    with torch.device("meta"): model, x = getattr(models, name)().eval(), torch.empty(1, channels, size, size)
    for p in model.parameters(): p.requires_grad_(False)
    x.requires_grad_()
    with FlopCounterMode(display=False) as counter: model(x).sum().backward()
    return counter.get_total_flops()


def extrapolate(
    n: int, size: int, workers: list[int], overhead: float, tflops: float, efficiency: float
) -> pd.DataFrame:
    "Modelled: hours of n masks on ResNet50 on so many GPUs."
    each = flops("resnet50", size, 3) * TYPICAL_STEPS * overhead / (tflops * 1e12)
    shards, shard = -(-n // 256), 256 * each
    return pd.DataFrame([dict(gpus=w, hours=-(-shards // w) * shard / efficiency / 3600) for w in workers])


def draw(by_n: pd.DataFrame, by_size: pd.DataFrame, by_workers: pd.DataFrame, modelled: pd.DataFrame):
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    fig, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for axis, table, key in ((axes[:, 0], by_n, "images"), (axes[:, 1], by_size, "size")):
        for color, (name, rows) in zip(("tab:blue", "tab:orange"), table.groupby("network"), strict=False):
            axis[0].plot(
                rows[key],
                rows["seconds"] if key == "images" else rows["ms_per_mask_step"],
                "o-",
                color=color,
                label=f"{name}, masks",
            )
            axis[0].plot(
                rows[key],
                rows["bare_ms"] * (rows[key] * STEPS / 1000 if key == "images" else 1),
                "s--",
                color=color,
                label=f"{name}, bare passes",
            )
            axis[1].plot(
                rows[key],
                rows["peak_mb"] if key == "images" else rows["kept_mb_per_image"],
                "o-",
                color=color,
                label=name,
            )
    for ax, x, y in (
        (axes[0, 0], "images", f"seconds, {STEPS} steps a mask"),
        (axes[1, 0], "images", "largest memory of the process, MB"),
        (axes[0, 1], "height and width, pixels", "ms a mask and step"),
        (axes[1, 1], "height and width, pixels", "MB kept for an image's way back"),
        (axes[1, 2], "GPUs", "hours"),
    ):
        ax.set(xlabel=x, ylabel=y, xscale="log", yscale="linear" if ax is axes[1, 0] else "log")
        if ax is axes[1, 2]: ax.plot(modelled["gpus"], modelled["hours"], "^:", color="tab:purple")
        else: ax.legend(fontsize=8)
        points = sorted({x for line in ax.lines for x in line.get_xdata()})
        ax.set_xticks(points, [f"{x:g}" for x in points])
        ax.xaxis.set_minor_locator(NullLocator())
        if ax is axes[1, 0]: ax.set_ylim(0, 1.3 * by_n["peak_mb"].max()); continue
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_locator(NullLocator())
    axes[1, 2].set_title("modelled, not measured:\n50,000 masks, ResNet50, 224 × 224", fontsize=9)
    speed = by_workers.pivot(index="round", columns="workers", values="masks_per_s")
    ratio = speed.div(speed[1], axis=0).rename(columns=lambda workers: str(workers) if workers else "no Dask")
    axes[0, 2].bar(ratio.columns, ratio.median(), color="tab:gray")
    for name in ratio: axes[0, 2].plot([name] * len(ratio), ratio[name], "k.", ms=5)
    axes[0, 2].axhline(1.6, color="tab:red", lw=1, ls=":")
    axes[0, 2].set(xlabel="Dask workers of one thread", ylabel="masks a second, against one worker")
    return fig


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--tflops",
        type=float,
        default=30,
        help="what a GPU is taken to reach with tf32, 10¹² operations a second; with a GPU here it is measured",
    )
    parser.add_argument("--rounds", type=int, default=3, help="timings of the workers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    import warnings
    warnings.simplefilter("ignore")  # masks that do not settle
    counts, sizes = (
        ((16, 32, 64, 128), (32, 64, 128)) if args.device == "cpu" else ((64, 256, 1024, 4096), (32, 64, 128, 224))
    )
    by_n = pd.DataFrame([alone("vgg11", n, 32, 0.5, min(n, 64), args.device) for n in counts])
    by_size = pd.DataFrame(
        [alone(name, 8, size, 0.5, 8, args.device) for name in ("vgg11", "resnet18") for size in sizes]
    )
    print(by_n.round(2).to_string(index=False), "\n\n", by_size.round(2).to_string(index=False), sep="")
    with on_device(args.device):
        by_workers = pd.DataFrame(with_workers([1, 2], 32, 0.5, 128, 16, args.rounds, args.device))
    print("\n", by_workers.round(2).to_string(index=False), sep="")
    speed = by_workers.pivot(index="round", columns="workers", values="masks_per_s")
    gain = (speed[2] / speed[1]).median()
    overhead = (by_size["ms_per_mask_step"] / by_size["bare_ms"]).median()
    tflops = args.tflops
    # half width is a quarter of the operations
    if args.device != "cpu":
        tflops = (
            flops("resnet18", 224, 3)
            / by_size.query("network == 'resnet18' and size == 224")["bare_ms"].item()
            * 1e3
            / 1e12
            * 0.25
        )
    efficiency = min(1.0, gain / 2)
    modelled = extrapolate(50_000, 224, [1, 8, 64], overhead, tflops, efficiency)
    print(
        f"\ntwo workers against one: {gain:.2f} × masks a second, "
        f"against one process without Dask {(speed[2] / speed[0]).median():.2f} ×; "
        f"stores equal: {bool(by_workers['equal'].all())}"
        f"\na step of a mask against the bare passes (median): {overhead:.2f} ×"
        f"\nmodelled, not measured: 50,000 masks at 224×224 on ResNet50, {TYPICAL_STEPS} steps each, "
        f"{tflops:.0f} TFLOP/s a GPU, workers at {100 * efficiency:.0f} % of ideal\n"
        + modelled.round(2).to_string(index=False)
    )
    folder = figures_folder() / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    draw(by_n, by_size, by_workers, modelled).savefig(folder / "scaling.png", dpi=110)
    pd.concat(
        [
            by_n.assign(part="images"),
            by_size.assign(part="size"),
            by_workers.assign(part="workers"),
            modelled.assign(part="modelled"),
        ]
    ).to_csv(folder / "scaling.csv", index=False)
    print(f"drawn in {folder / 'scaling.png'}")
    if gain < 1.6: raise SystemExit(f"two workers finish only {gain:.2f} × as many masks a second as one; 1.6 is asked")
    if not by_workers["equal"].all(): raise SystemExit("the stores of different numbers of workers differ")


if __name__ == "__main__":
    main()
