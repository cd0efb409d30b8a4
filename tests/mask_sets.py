"Sets of random masks that several tests draw."
import json

import torch

from fourier_mask.basis import RealFourier
from fourier_mask.mask_set import MaskSet
from fourier_mask.part import Filter, held_of
from fourier_mask.spectrum import mirror

ROTATED = torch.Generator().manual_seed(5)  # of orthonormal matrices


def random_set(n=2, channels=1, size=(6, 5), seed=0, basis=None, part=None, settings=None):
    "n masks, point-symmetric where the basis asks for it, with numbers that tell the masks apart."
    generator, axes = torch.Generator().manual_seed(seed), tuple(range(-len(size), 0))
    masks = torch.rand(n, channels, *size, generator=generator)
    if basis is None or type(basis) is RealFourier: masks = (masks + mirror(masks, axes)) / 2
    values, rows = torch.rand(n, generator=generator), torch.arange(n)
    settings = {"weight": 0.2, "p": 1} if settings is None else settings
    held = {}
    if basis is not None:
        settings, held = settings | {"basis": basis.settings}, held_of(basis, part or Filter())
    if part is not None: settings = settings | {"part": part.settings}
    trace = {"sparsity": torch.linspace(1, 0.5, 4)}
    return MaskSet(masks, rows, values, values, values, rows, values > 0.5, values, settings, trace, held=held)


def change(path, *keys, value=None):
    "Put another value into a zarr.json, or take it out."
    record = json.loads(path.read_text())
    inner = record
    for key in keys[:-1]: inner = inner[key]
    if value is None: del inner[keys[-1]]
    else: inner[keys[-1]] = value
    path.write_text(json.dumps(record))
