"A small network and small images, in double precision, for tests of what is done with a learner."
import torch
from torch import nn


def small_network(size=(6, 5), classes=3):
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * size[0] * size[1], classes)
    return nn.Sequential(*layers).double()


def small_images(n=12, size=(6, 5), classes=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, *size, generator=generator, dtype=torch.float64), torch.arange(n) % classes


def in_unit(images):
    "The same, in [0, 1], as a `Normalized` network takes them."
    return (images - images.amin()) / (images.amax() - images.amin())
