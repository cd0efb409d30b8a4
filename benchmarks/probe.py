"""The directional probe of a few architectures, beside what its authors published.

    python benchmarks/probe.py                        logistic regression, LeNet, VGG11 and ResNet18, thinned
    python benchmarks/probe.py --networks LeNet       one of them

Waves along the diagonal, two to twelve cycles a side of 32 × 32, sines as in the authors' code, and their training:
10,000 images, 20 times. Their accuracies are read off docs/data/dft_accuracies.csv in LTS4's repository
neural-anisotropy-directions, whose index 8 is zero frequency; that its steps are two cycles is a reading of ours, since
sixteen of them stand for 32 pixels. Theirs are networks at full width; on a processor that takes an hour a wave for
ResNet18. So VGG11 has a quarter of its filters here and ResNet18 an eighth, and only an order can be compared: which
waves an architecture learns, and which architecture learns more.
"""
import argparse
import time

import torch
from torch import nn

from fourier_mask.directions import directional_probe
from fourier_mask.models import resnet18, vgg11
from fourier_mask.sensitivity import phase_of

CYCLES = (2, 4, 6, 8, 12)  # down and across
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
    "LogReg": lambda: nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)),
    "LeNet": lenet,
    "VGG11": lambda: vgg11(2, width=0.25, size=(32, 32)),
    "ResNet18": lambda: resnet18(2, width=0.125, size=(32, 32)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(BUILDS), choices=list(BUILDS))
    parser.add_argument("--n", type=int, default=10_000, help="images to learn from")
    args = parser.parse_args()
    cycles = torch.tensor(CYCLES)
    waves = torch.sin(phase_of(cycles, cycles, (32, 32))).float()[:, None]
    waves /= waves.flatten(1).norm(dim=1)[:, None, None, None]
    for name in args.networks:
        began = time.perf_counter()
        for cycle, wave, theirs in zip(CYCLES, waves, PUBLISHED[name], strict=True):
            ours = 100 * directional_probe(BUILDS[name], wave[None], n=args.n, progress=False).item()
            print(f"{name:>8}, {cycle:2} cycles down and across: {ours:5.1f} %, published {theirs:5.1f} %", flush=True)
        print(f"{name:>8}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
