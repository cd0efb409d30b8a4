"""What each part of the profile `paper` costs at the paper's size, beside the bare network; and what the whole counts would take.

    python benchmarks/paper_profile.py                         on the first GPU, with batches as in the profile
    python benchmarks/paper_profile.py --device cpu            at reduced counts, batches of 4: some 6 minutes on two cores
    python benchmarks/paper_profile.py --architecture resnet18 --precision bf16 --compile

Fashion5, enlarged to Imagenette's canvas and to 128×128, stands in for Imagenette, which need not be there. The real functions
run for few and for more epochs or steps, and the difference is what one costs, so that nothing that is done once is in it.
**Bare** is the network's own forward and backward on batches of the same size, in the same precision: to the weights for training,
ten times to the image before it for adversarial training, to the image for masks. The last columns multiply by the profile's counts:
arithmetic, not a measurement. Then, on a GPU, the same masks are learned in each precision, and their objectives, taken in float32, compared.
"""
import argparse
import statistics
import time
import warnings

import torch
import torch.nn.functional as F

from fourier_mask import learn_dataset_mask, learn_image_masks
from fourier_mask.data import Data, Images, fashion5
from fourier_mask.dataset_mask import DATASET_SCHEDULES
from fourier_mask.imagenette import COUNTS, train_canvas
from fourier_mask.learn import computing, find_batch_size, frozen
from fourier_mask.study import PROFILES
from fourier_mask.train import accuracy_pct, new_network, predict, train_network

PAPER, SIZE = PROFILES["paper"], 128
STEPS = 105  # of the mask of an image, mean over 64 images, `benchmarks/image_masks.py`
NEVER = 10**9  # patience
N_TRAIN, N_VAL = sum(COUNTS["train"]), sum(COUNTS["val"])
WHOLE = {  # images times passes over them in the profile, and minutes asked of a GPU
    "natural training": (N_TRAIN * PAPER.train.epochs["natural"], 3), "adversarial training": (N_TRAIN * PAPER.train.epochs["adversarial"], 12),
    "data-set mask": (N_VAL * PAPER.mask.epochs, 2), "image masks": (3 * 1421 * STEPS, 5)}


def stand_in(n: int, n_val: int) -> Data:
    "Fashion5 in the form that Imagenette's loader gives."
    larger = lambda images, size: F.interpolate(images, size=size, mode="bilinear", antialias=True).clamp(0, 1)
    small, canvas = fashion5(n, n_val), train_canvas(SIZE)
    train, val = (255 * larger(small.train.images, canvas)).byte(), larger(small.val.images, SIZE)
    return Data("stand-in", small.classes, Images(train, small.train.labels, torch.full((len(train), 2), canvas)), Images(val, small.val.labels), small.mean, small.std)


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
        with torch.autocast(x.device.type, torch.bfloat16, precision == "bf16"): loss = F.cross_entropy(network(leaf), y)
        torch.autograd.grad(loss, list(network.parameters()) if weights else leaf)


def stages(data: Data, architecture: str, precision: str, compiled: bool, batch: int, device: str):
    "Each part of the profile: its name, images an epoch or step, a function of the number of epochs or steps, few and more of them, the batch of the bare passes, and their number to the weights and to the image."
    attack = PAPER.train.attack.model_copy(update=dict(eval_images=5, eval_steps=1))  # the robustness of these networks plays no part
    settings = PAPER.train.model_copy(update=dict(architecture=architecture, precision=precision, compile=compiled, batch_size=batch, attack=attack))
    train = lambda regime: lambda n: train_network(data, regime, settings.model_copy(update=dict(epochs={regime: n})), device=device, progress=False)
    n = len(data.train)
    yield "natural training", n, train("natural"), 1, 3, batch, 1, 0
    yield "adversarial training", n, train("adversarial"), 1, 2, batch, 1, attack.train_steps
    torch.manual_seed(0)
    model, val = new_network(data, settings).to(device, memory_format=torch.channels_last).eval(), data.val
    x, y = val.images.to(device), val.labels.to(device)
    size = min(PAPER.mask.batch_size or DATASET_SCHEDULES[PAPER.mask.schedule].batch_size, len(x))
    yield "data-set mask", len(x), lambda n: learn_dataset_mask(model, x, y, epochs=n, patience=NEVER, batch_size=size, precision=precision, progress=False), 1, 4, size, 0, 1
    most = min(find_batch_size(model, x[:1], 1, None), len(x)) if device != "cpu" else batch
    yield "image masks", most, lambda n: learn_image_masks(model, x[:most], y[:most], steps=n, patience=NEVER, batch_size=most, precision=precision, progress=False), 4, 16, most, 0, 1


def cost(data, architecture, precision, compiled, batch, rounds, device) -> list[str]:
    "Times every part; returns those that reach less than 60 % of the bare throughput."
    torch.manual_seed(0)
    network, slow = new_network(data, PAPER.train.model_copy(update=dict(architecture=architecture))).to(device, memory_format=torch.channels_last), []
    x, y = data.val.images.to(device), data.val.labels.to(device)
    print(f"{'':22}{'batch':>6}{'ms an image':>13}{'bare':>9}{'of the bare throughput':>24}{'whole, minutes':>16}{'asked of a GPU':>16}")
    for name, n, call, few, more, size, weights, images in stages(data, architecture, precision, compiled, batch, device):
        part, labels, taken = x[:size], y[:size], []
        warm = device != "cpu"  # a GPU chooses its kernels, and compiles, the first time
        for number in range(rounds + warm):
            passes = [seconds(lambda to=to: bare(network, part, labels, to, precision), device) for to in (True, False) for _ in range(3)]  # noqa: B023
            alone = weights * statistics.median(passes[:3]) + images * statistics.median(passes[3:])
            ours = (seconds(lambda: call(more), device) - seconds(lambda: call(few), device)) / (more - few)  # noqa: B023
            if number >= warm: taken.append((1000 * ours / n, 1000 * alone / size))
        ms, base = (statistics.median(column) for column in zip(*taken, strict=True))
        share = statistics.median(b / a for a, b in taken)
        whole, asked = WHOLE[name]
        print(f"{name:22}{size:6}{ms:13.2f}{base:9.2f}{100 * share:22.0f} %{whole * ms / 60_000:16.1f}{asked:16}", flush=True)
        if share < 0.6: slow.append(name)
    return slow


def objective(network, x, y, masks, weight):
    "Eq. 2 in float32, for one mask or one for each image."
    with torch.no_grad():
        masked = torch.fft.ifft2(masks.to(x.device) * torch.fft.fft2(x)).real
        clean, now = (torch.cat([F.cross_entropy(network(a), b, reduction="none") for a, b in zip(images.split(64), y.split(64), strict=True)]) for images in (x, masked))
    return (torch.exp((now - clean) ** 2) + weight * masks.to(x.device).mean((1, 2, 3))).mean().item()


def precisions(architecture: str, names: list[str], n: int, device: str) -> None:
    "Objectives of the masks of a trained network that were learned in each precision, against float32."
    data = stand_in(4 * n, n)
    settings = PAPER.train.model_copy(update=dict(architecture=architecture, batch_size=32, epochs={"natural": 5}, precision="float32", attack=PAPER.train.attack.model_copy(update=dict(eval_images=5, eval_steps=1))))
    model, _ = train_network(data, "natural", settings, device=device, progress=False)
    print(f"\na network with {accuracy_pct(predict(model, data.val.images), data.val.labels):.1f} % of {n} images right; objectives against those of masks learned in float32")
    x, y, first = data.val.images.to(device), data.val.labels.to(device), {}
    with frozen(model): centred = model.center(x)
    for name in ("float32", *names):
        for kind, learn, weight in (("data-set mask", learn_dataset_mask, PAPER.mask.weight), ("image masks", learn_image_masks, PAPER.image.weight)):
            masks = []
            took = seconds(lambda: masks.append(learn(model, x, y, precision=name, progress=False)), device)  # noqa: B023
            value = objective(model.model.eval(), centred, y, masks[0].masks, weight)
            first.setdefault(kind, value)
            print(f"  {name:8} {kind:14} {value:.6f}  {value / first[kind]:.4f} ×  {took:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--architecture", choices=("vgg11", "resnet18"), default="vgg11")
    parser.add_argument("--precision", choices=("float32", "tf32", "bf16"), default=PAPER.train.precision, help="of what is timed; a processor takes tf32 as float32")
    parser.add_argument("--compare", nargs="*", choices=("tf32", "bf16"), help="precisions to learn the same masks in; both on a GPU if not given")
    parser.add_argument("--compile", action="store_true", help="torch.compile in training")
    parser.add_argument("--rounds", type=int, default=3, help="timings of each")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # masks that do not settle
    gpu = args.device != "cpu"
    batch = PAPER.train.batch_size if gpu else 4
    print(f"{args.architecture}, {SIZE}×{SIZE}, {args.precision}, compile {args.compile}, {torch.cuda.get_device_name(args.device) if gpu else f'{torch.get_num_threads()} threads'}, torch {torch.__version__}\n")
    slow = cost(stand_in(20 * batch if gpu else 2 * batch, 1024 if gpu else 5), args.architecture, args.precision, args.compile, batch, args.rounds, args.device)
    compare = args.compare if args.compare is not None else ["tf32", "bf16"] if gpu else []
    if compare: precisions(args.architecture, compare, 256 if gpu else 32, args.device)
    if slow: raise SystemExit(f"under 60 % of the bare throughput: {', '.join(slow)}")


if __name__ == "__main__":
    main()
