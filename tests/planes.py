"Small masks and rows that several tests draw."
import numpy as np
import torch
import torch.nn.functional as F

from fourier_mask.spectrum import mirror


def orbit(v, u, size=(16, 16), height=1.0):
    "A mask of one frequency and its mirror image."
    mask = torch.zeros(1, *size)
    mask[0, v, u] = height
    return torch.maximum(mask, mirror(mask))


def blobs(n=90, classes=3, entries=(1, 4, 5), distance=1.0, seed=0):
    "Noise with one entry raised for each class, and the labels."
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    rows = torch.randn(n, int(np.prod(entries)), generator=generator, dtype=torch.float64)
    rows[:, :classes] += distance * F.one_hot(labels, classes)
    return rows.reshape(n, *entries), labels


def wilson(k, n, z=1.959963984540054):
    "Wilson's interval, written out."
    p, q = k / n, z * z / n
    middle, half = (p + q / 2) / (1 + q), z / (1 + q) * np.sqrt(p * (1 - p) / n + q / (4 * n))
    return 100 * (middle - half), 100 * (middle + half)
