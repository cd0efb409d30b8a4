"""What each part of the profile `paper` costs at the paper's size, beside the bare network; what the whole would take.

    python benchmarks/paper_profile.py                         on the first GPU, with batches as in the profile
    python benchmarks/paper_profile.py --device cpu            at reduced counts, in batches of 4: some 4 minutes
    python benchmarks/paper_profile.py --architecture resnet18 --precision bf16 --compile

Fashion5, enlarged to Imagenette's canvas and to 128×128, stands in for Imagenette, which need not be there. The real
functions run for few and for more epochs or steps, and the difference is what one costs, so that nothing that is done
once is in it. **Bare** is the network's own forward and backward on batches of the same size, in the same precision:
to the weights for training, ten times to the image before it for adversarial training, to the image for masks. The last
columns multiply by the profile's counts: arithmetic, not a measurement. Then the same masks are learned in each
precision, and their objectives, taken in float32, compared; a processor emulates tf32 and bf16 by rounding what goes
into each product, on the quick profile's network.
"""
import argparse
import copy
import statistics
import time
import warnings

import torch
import torch.nn.functional as F
from image_masks import quality
from scaling import TYPICAL_PASSES, TYPICAL_STEPS

from fourier_mask import learn_dataset_mask, learn_image_masks
from fourier_mask.data import Data, Images, fashion5, front_of_each
from fourier_mask.device import computing
from fourier_mask.imagenette import COUNTS, train_canvas
from fourier_mask.learner import find_batch_size, parts_of
from fourier_mask.settings import ImageMaskSettings
from fourier_mask.study import PROFILES, Study
from fourier_mask.train import accuracy_pct, new_network, predict, train_network

PAPER = PROFILES["paper"]
SIZE = PAPER.data.size
WALK_ON = dict(tolerance=0, progress=False)  # no mask settles before its steps are used up
N_TRAIN, N_VAL = sum(COUNTS["train"]), sum(COUNTS["val"])
WHOLE = {  # images times passes over them in the profile, and minutes asked of a GPU
    "natural training": (N_TRAIN * PAPER.train.epochs["natural"], 3),
    "adversarial training": (N_TRAIN * PAPER.train.epochs["adversarial"], 12),
    "data-set mask": (N_VAL * PAPER.mask.starts * TYPICAL_PASSES, 2),
    "image masks": (3 * 1421 * TYPICAL_STEPS, 5),
}


def stand_in(n: int, n_val: int) -> Data:
    "Fashion5 in the form that Imagenette's loader gives."
    larger = lambda images, size: F.interpolate(images, size=size, mode="bilinear", antialias=True).clamp(0, 1)
    small, canvas = fashion5(n, n_val), train_canvas(SIZE)
    train, val = (255 * larger(small.train.images, canvas)).byte(), larger(small.val.images, SIZE)
    return Data(
        "stand-in",
        small.classes,
        Images(train, small.train.labels, torch.full((len(train), 2), canvas)),
        Images(val, small.val.labels),
        small.mean,
        small.std,
    )


def seconds(call, device: str) -> float:
    began = time.perf_counter()
    call()
    if device != "cpu": torch.cuda.synchronize()
    return time.perf_counter() - began


def bare(network, x, y, weights: bool, precision: str):
    "A forward pass, and back to the weights or to the images."
    with computing(precision), torch.enable_grad():
        network.train(weights).requires_grad_(weights)
        leaf = x.clone().requires_grad_(not weights)
        with torch.autocast(x.device.type, torch.bfloat16, precision == "bf16"):
            loss = F.cross_entropy(network(leaf), y)
        torch.autograd.grad(loss, list(network.parameters()) if weights else leaf)


def stages(data: Data, architecture: str, precision: str, compiled: bool, batch: int, device: str):
    """Each part of the profile: its name, images an epoch or step, a function of the number of epochs or steps, few and
    more of them, the batch of the bare passes, and their number to the weights and to the image."""
    # the robustness of these networks plays no part
    attack = PAPER.train.attack.model_copy(update=dict(eval_images=5, eval_steps=1))
    settings = PAPER.train.model_copy(
        update=dict(architecture=architecture, precision=precision, compile=compiled, batch_size=batch, attack=attack)
    )
    train = lambda regime: (
        lambda n: train_network(
            data, regime, settings.model_copy(update=dict(epochs={regime: n})), device=device, progress=False
        )
    )
    n = len(data.train)
    yield "natural training", n, train("natural"), 1, 3, batch, 1, 0
    yield "adversarial training", n, train("adversarial"), 1, 2, batch, 1, attack.train_steps
    torch.manual_seed(0)
    model, val = new_network(data, settings).to(device, memory_format=torch.channels_last).eval(), data.val
    x, y = val.images.to(device), val.labels.to(device)
    size = min(64, len(x))
    yield (
        "data-set mask",
        len(x),
        lambda n: learn_dataset_mask(model, x, y, epochs=n, batch_size=size, precision=precision, **WALK_ON),
        1,
        4,
        size,
        0,
        1,
    )
    most = batch
    if device != "cpu": most = min(find_batch_size(model, x[:1], ImageMaskSettings(), parts_of((SIZE, SIZE))), len(x))
    yield (
        "image masks",
        most,
        lambda n: learn_image_masks(
            model, x[:most], y[:most], steps=n, batch_size=most, precision=precision, **WALK_ON
        ),
        4,
        16,
        most,
        0,
        1,
    )


def cost(data, architecture, precision, compiled, batch, rounds, device) -> list[str]:
    "Times every part; returns those that reach less than 60 % of the bare throughput."
    torch.manual_seed(0)
    settings, slow = PAPER.train.model_copy(update=dict(architecture=architecture)), []
    network = new_network(data, settings).to(device, memory_format=torch.channels_last)
    x, y = data.val.images.to(device), data.val.labels.to(device)
    print(
        f"{'':22}{'batch':>6}{'ms an image':>13}{'bare':>9}{'of the bare throughput':>24}"
        f"{'whole, minutes':>16}{'asked of a GPU':>16}"
    )
    for name, n, call, few, more, size, weights, images in stages(
        data, architecture, precision, compiled, batch, device
    ):
        part, labels, taken = x[:size], y[:size], []
        warm = device != "cpu"  # a GPU chooses its kernels, and compiles, the first time
        for number in range(rounds + warm):
            passes = [
                seconds(lambda to=to: bare(network, part, labels, to, precision), device)  # noqa: B023
                for to in (True, False)
                for _ in range(3)
            ]
            alone = weights * statistics.median(passes[:3]) + images * statistics.median(passes[3:])
            longer, shorter = seconds(lambda: call(more), device), seconds(lambda: call(few), device)  # noqa: B023
            ours = (longer - shorter) / (more - few)
            if number >= warm: taken.append((1000 * ours / n, 1000 * alone / size))
        ms, base = (statistics.median(column) for column in zip(*taken, strict=True))
        share = statistics.median(b / a for a, b in taken)
        whole, asked = WHOLE[name]
        print(
            f"{name:22}{size:6}{ms:13.2f}{base:9.2f}{100 * share:22.0f} %{whole * ms / 60_000:16.1f}{asked:16}",
            flush=True,
        )
        if share < 0.6: slow.append(name)
    return slow


class Rounded(torch.autograd.Function):
    "Round to so many significant bits, on the way there, on the way back, or both."

    @staticmethod
    def forward(ctx, x, bits, there): ctx.bits = bits; return round_to(x, bits) if there else x.view_as(x)

    @staticmethod
    def backward(ctx, slope): return round_to(slope, ctx.bits), None, None


def round_to(x, bits):
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp((mantissa * 2**bits).round() / 2**bits, exponent)


def emulated(network, bits: int):
    "A copy whose layers take their factors as a tensor core would: images, weights, slopes rounded, sums in float32."
    network = copy.deepcopy(network)
    for layer in network.modules():
        if not isinstance(layer, torch.nn.Conv2d | torch.nn.Linear): continue
        layer.weight.data = round_to(layer.weight.data, bits)
        layer.register_forward_pre_hook(lambda layer, given: (Rounded.apply(given[0], bits, True),))
        layer.register_forward_hook(lambda layer, given, out: Rounded.apply(out, bits, False))
    return network


BITS = {"tf32": 11, "bf16": 8}  # significant bits


def trained(architecture: str, device: str):
    "A network and images to learn masks for: at the paper's size on a GPU; on a processor the quick profile's, 32×32."
    if device == "cpu":
        study = Study("quick", settings={"train.architecture": architecture}, device="cpu")
        return study.network("natural"), study.data.val
    data, attack = stand_in(1024, 256), PAPER.train.attack.model_copy(update=dict(eval_images=5, eval_steps=1))
    settings = PAPER.train.model_copy(
        update=dict(architecture=architecture, batch_size=32, epochs={"natural": 5}, precision="float32", attack=attack)
    )
    return train_network(data, "natural", settings, device=device, progress=False)[0], data.val


def precisions(architecture: str, names: list[str], device: str) -> list[str]:
    "Objectives of the masks that were learned in each precision; returns those more than 1 % above float32."
    model, val = trained(architecture, device)
    val, first, worse = val[front_of_each(val.labels, 500)], {}, []
    few = front_of_each(val.labels, 64)
    print(
        f"\n{architecture}, {val.images.shape[-2]}×{val.images.shape[-1]}, "
        f"{accuracy_pct(predict(model, val.images), val.labels):.1f} % of {len(val)} images right; "
        "objectives, taken in float32, beside those of masks learned in float32"
        + ", precisions emulated by rounding" * (device == "cpu")
    )
    for name in ("float32", *names):
        network = emulated(model, BITS[name]) if device == "cpu" and name in BITS else model
        for kind, learn, weight, rows in (
            ("data-set mask", learn_dataset_mask, PAPER.mask.weight, slice(None)),
            ("image masks", learn_image_masks, PAPER.image.weight, few),
        ):
            x, y, masks = val.images[rows].to(device), val.labels[rows].to(device), []
            given = dict(precision="float32" if device == "cpu" else name, progress=False)
            took = seconds(
                lambda: masks.append(learn(network, x, y, **given)),  # noqa: B023
                device,
            )
            with computing("float32"):
                value = quality(model.model.eval(), model.center(x), y, masks[0].masks, weight)[0].mean().item()
            ratio = value / first.setdefault(kind, value)
            print(
                f"  {name:8} {kind:14} {len(x):5} images  {value:.6f}  {ratio:.4f} ×  "
                f"excess over 1: {(value - 1) / (first[kind] - 1):.4f} ×  {took:.1f} s",
                flush=True,
            )
            if ratio > 1.01: worse.append(f"{kind} in {name}")
    return worse


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--architecture", choices=("vgg11", "resnet18"), default="vgg11")
    parser.add_argument(
        "--precision",
        choices=("float32", "tf32", "bf16"),
        default=PAPER.train.precision,
        help="of what is timed; a processor takes tf32 as float32",
    )
    parser.add_argument(
        "--compare",
        nargs="*",
        choices=list(BITS),
        default=list(BITS),
        help="precisions to learn the same masks in; both if not given",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile in training")
    parser.add_argument("--rounds", type=int, default=3, help="timings of each")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # masks that do not settle
    gpu = args.device != "cpu"
    batch = PAPER.train.batch_size if gpu else 4
    print(
        f"{args.architecture}, {SIZE}×{SIZE}, {args.precision}, compile {args.compile}, "
        f"{torch.cuda.get_device_name(args.device) if gpu else f'{torch.get_num_threads()} threads'}, "
        f"torch {torch.__version__}\n"
    )
    slow = cost(
        stand_in(20 * batch if gpu else 2 * batch, 1024 if gpu else 5),
        args.architecture,
        args.precision,
        args.compile,
        batch,
        args.rounds,
        args.device,
    )
    worse = precisions(args.architecture, args.compare, args.device) if args.compare else []
    if slow: print(f"under 60 % of the bare throughput: {', '.join(slow)}")
    if worse: print(f"objective more than 1 % above float32: {', '.join(worse)}")
    if gpu and slow or worse: raise SystemExit(1)


if __name__ == "__main__":
    main()
