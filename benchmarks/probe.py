"""The directional probe of a few architectures, beside what its authors published.

    python benchmarks/probe.py                                           four architectures, an hour
    python benchmarks/probe.py --networks ResNet18 --cycles 4            one of them, one wave

Waves along the diagonal, two to twelve cycles a side of 32 × 32, sines as in the authors' code, and their training:
10,000 images, 20 times. Their accuracies are read off docs/data/dft_accuracies.csv in LTS4's repository
neural-anisotropy-directions, whose index 8 is zero frequency; that its steps are two cycles is a reading of ours, since
sixteen of them stand for 32 pixels, and LeNet's accuracies agree. Theirs are networks at full width, for which a
processor takes an hour a wave of ResNet18; VGG11 and ResNet18 have a quarter of their filters here, unless --width asks
for more.
"""
import argparse
import time

import torch
from torch import nn

from fourier_mask.directions import directional_probe
from fourier_mask.models import resnet18, vgg11
from fourier_mask.sensitivity import phase_of

CYCLES = (2, 4, 6, 8, 12)  # down and across
EPS = 2  # between the classes: x = ±v + w, as on the authors' page; their script has ±v/2
PUBLISHED = {  # test accuracy, %, at those waves
    "LogReg": (100.0, 100.0, 100.0, 100.0, 100.0),
    "LeNet": (78.3, 68.2, 50.8, 50.4, 49.8),
    "VGG11": (98.7, 53.3, 51.1, 50.6, 51.2),
    "ResNet18": (51.3, 99.9, 51.8, 100.0, 99.9),
}


def lenet() -> nn.Module:
    features = (nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
    head = (nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 2))
    return nn.Sequential(*features, *head)


BUILDS = {
    "LogReg": lambda width: nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)),
    "LeNet": lambda width: lenet(),
    "VGG11": lambda width: vgg11(2, width=width, size=(32, 32)),
    "ResNet18": lambda width: resnet18(2, width=width, size=(32, 32)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(BUILDS), choices=list(BUILDS))
    parser.add_argument("--n", type=int, default=10_000, help="images to learn from")
    parser.add_argument("--width", type=float, default=0.25, help="factor on the filters of VGG11 and ResNet18")
    parser.add_argument("--cycles", type=int, nargs="+", default=CYCLES, choices=CYCLES, help="down and across")
    args = parser.parse_args()
    cycles = torch.tensor(args.cycles)
    waves = torch.sin(phase_of(cycles, cycles, (32, 32))).float()[:, None]
    waves /= waves.flatten(1).norm(dim=1)[:, None, None, None]
    for name in args.networks:
        began, theirs_at = time.perf_counter(), dict(zip(CYCLES, PUBLISHED[name], strict=True))
        def build(name=name): return BUILDS[name](args.width).to(memory_format=torch.channels_last)
        for cycle, wave in zip(args.cycles, waves, strict=True):
            theirs = theirs_at[cycle]
            ours = 100 * directional_probe(build, wave[None], eps=EPS, n=args.n, progress=False).item()
            print(f"{name:>8}, {cycle:2} cycles down and across: {ours:5.1f} %, published {theirs:5.1f} %", flush=True)
        print(f"{name:>8}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
