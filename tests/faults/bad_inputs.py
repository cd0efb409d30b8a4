"""Everyday slips in every argument of the library: each is refused in one line that names the argument.

Rows that are documented to work stand among them, so that no check refuses too much. Annotations must not be enforced
(under pytest: fixture `annotations_off`), since users have it so.
"""
import contextlib
import io
import math
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from mask_sets import random_set
from PIL import Image
from small import in_unit, small_images, small_network
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from faults.outcome import Outcome, outcome_of
from fourier_mask import (
    accuracy,
    activations,
    band_attacks,
    band_energies,
    charts,
    cli,
    cluster,
    crops,
    curves,
    data,
    device,
    directions,
    goal,
    imagenette,
    mask_pairs,
    mask_pictures,
    models,
    pass_filters,
    pictures,
    profiles,
    record,
    sensitivity,
    separability,
    settings,
    shards,
    spectrum,
    stability,
    study,
    symmetries,
    texture,
    train,
    translations,
)
from fourier_mask import reproduce as reproduce_page
from fourier_mask import store as store_page
from fourier_mask.basis import Cosine, Linear, RealFourier, Separable, Wavelet, principal_components
from fourier_mask.dataset_mask import learn_class_masks, learn_dataset_mask
from fourier_mask.form import Layout, Rings, RingsAndSectors, Sectors
from fourier_mask.imagenet import efficientnet_lite
from fourier_mask.images import ImageFiles, read_images
from fourier_mask.learn import learn_image_masks
from fourier_mask.learned_basis import compare_bases, learn_basis
from fourier_mask.mask import FourierMask, complement
from fourier_mask.mask_folder import store_image_masks
from fourier_mask.mask_set import MaskSet
from fourier_mask.minimal import minimal_sufficient
from fourier_mask.models import Normalized, Reading
from fourier_mask.part import Amplitude, Filter, Phase, Rest, mean_amplitude
from fourier_mask.path import learn_mask_path

NAN, INF = math.nan, math.inf
SIZE = (6, 5)


@dataclass(frozen=True)
class Bad:
    "A call, and what its refusal must say."

    fault: str
    call: Callable[[], object]
    names: tuple[str, ...] = ()
    legitimate: bool = False


def bad(fault: str, call: Callable[[], object], *names: str) -> Bad: return Bad(fault, call, names)


def fine(fault: str, call: Callable[[], object]) -> Bad: return Bad(fault, call, legitimate=True)


def over(
    what: str,  # is called
    name: str,  # of the argument
    call: Callable,  # of its value
    *values: object,  # none of which will do
) -> Iterator[Bad]:
    "Several values of one argument."
    said = name if len(name) > 2 else f"{name} must"  # a letter is in every message
    for value in values: yield bad(f"{what}: {name}={shown(value)}", lambda value=value: call(value), said)


def shown(value: object) -> str:
    "A value in a few words."
    if isinstance(value, torch.Tensor): return f"tensor of {value.dtype} {tuple(value.shape)}"
    if isinstance(value, np.ndarray): return f"array of {value.dtype} {value.shape}"
    return re.sub(" at 0x[0-9a-f]+", "", " ".join(repr(value).split()))[:60]


def asked(call: Callable[[], object]) -> Callable[[], object]:
    "A call whose `IndexError` is right, as of any sequence of Python's."
    def as_value():
        try: call()
        except IndexError as error: raise ValueError(str(error)) from None

    return as_value


IMAGES, LABELS = small_images()
PLANE = torch.rand(SIZE, generator=torch.Generator().manual_seed(3))
MASKS = random_set(2, size=SIZE)
SQUARE = random_set(2, size=(8, 8))


# 00 … 06

def of_spectrum(folder: Path) -> Iterator[Bad]:
    for make in (spectrum.half_plane_counts, spectrum.frequencies, spectrum.radius, spectrum.angle,
                 spectrum.radial_bands, spectrum.angular_bands, stability.orbits):
        yield from over(make.__name__, "size", make, 8, (8, 8.0), (8, 0), (8,))
    yield from over("radius", "size", spectrum.radius, None, "88", (True, 8), (NAN, 8), (8, 8, 8))
    yield fine("radius of numpy's integers", lambda: spectrum.radius((np.int64(8), np.int32(4))))
    yield fine("radius of a shape", lambda: spectrum.radius(torch.zeros(4, 3).shape))
    for make in (spectrum.radial_bands, spectrum.angular_bands):
        yield from over(make.__name__, "n", lambda n, make=make: make((8, 8), n), 0, 2.0, True, INF, NAN, "8", None)
    for energy in (spectrum.radial_energy, spectrum.angular_energy):
        name = energy.__name__
        yield from over(name, "masks", energy, [[1.0, 2.0]], np.ones(SIZE), MASKS, None, torch.ones(5))
        yield from over(name, "masks", energy, torch.full(SIZE, NAN), torch.ones(SIZE, dtype=torch.complex64))
        yield from over(name, "n", lambda n, energy=energy: energy(PLANE, n), 0, 2.5, True)
        yield fine(f"{name} of numpy's number of bands", lambda energy=energy: energy(PLANE, np.int64(4)))
    bands = spectrum.radial_bands(SIZE, 8)
    yield bad("band_energy: bands of another size", lambda: spectrum.band_energy(torch.ones(8, 8), bands, 8), "masks")
    yield bad("band_energy: fewer bands than there are", lambda: spectrum.band_energy(PLANE, bands, 3), "n must", "3")
    yield bad("to_full: half of another size", lambda: spectrum.to_full(torch.ones(8, 5), (8, 4)), "half", "(8, 5)")
    yield from over("to_full", "half", lambda half: spectrum.to_full(half, (8, 8)), [1.0], np.ones((8, 5)))


def of_bases(folder: Path) -> Iterator[Bad]:
    for kind in (RealFourier, Cosine, Wavelet):
        yield from over(kind.__name__, "size", kind, 8, (8.0, 8), (0, 4), (2, 2, 2, 2), (), None)
        yield fine(f"{kind.__name__} of numpy's sizes", lambda kind=kind: kind((np.int64(8), np.int64(8))))
    yield bad("Wavelet: levels too many", lambda: Wavelet((6, 6), levels=2), "levels", "(6, 6)")
    yield from over("Wavelet", "levels", lambda n: Wavelet((8, 8), levels=n), 0, -1, 1.0, True, "2")
    yield from over("Wavelet", "wavelet", lambda name: Wavelet((8, 8), name), "harr", "bior2.2", None, 2)
    eye = torch.eye(4)
    yield from over("Linear", "matrix", lambda m: Linear(m, (2, 2)), torch.ones(4, 4), eye * NAN, eye[:3], eye.numpy(),
                    eye.tolist(), None, torch.eye(3), torch.eye(4, dtype=torch.long), eye.to(torch.complex64))
    yield bad("Linear: size that is a number", lambda: Linear(eye, 4), "size", "4")
    yield from over("Separable", "matrix", Separable, torch.ones(3, 3), eye[:3], [[1.0]], None)
    yield bad("Separable of nothing", Separable, "matrices")
    yield from over("principal_components", "images", principal_components, IMAGES.numpy(), IMAGES * NAN,
                    IMAGES[:, 0, 0], (IMAGES * 255).byte(), None)
    yield from over("mean_amplitude", "images", lambda x: mean_amplitude(RealFourier(SIZE), x), IMAGES.numpy(),
                    IMAGES * NAN, IMAGES[..., :3], (IMAGES * 255).byte())


def of_forms(folder: Path) -> Iterator[Bad]:
    basis = RealFourier(SIZE)
    for kind in (Rings, Sectors):
        make = lambda n, kind=kind: Layout(basis, kind(n))
        yield from over(kind.__name__, "n", make, 0, -3, 2.5, True, INF, NAN, "8", None, (8, 8))
        yield fine(f"{kind.__name__} of numpy's number", lambda make=make: make(np.int64(4)))
    for name in ("rings", "sectors"):
        make = lambda n, name=name: Layout(basis, RingsAndSectors(**{name: n}))
        yield from over("RingsAndSectors", name, make, 0, 2.5, True, None)
    yield bad("Sectors of a signal", lambda: Layout(RealFourier((8,)), Sectors()), "sectors", "two axes")
    yield bad("Rings of a basis without frequencies", lambda: Layout(Linear(torch.eye(4), (2, 2)), Rings()), "basis")
    yield from over("Layout", "form", lambda form: Layout(basis, form), "Rings", Rings, None)
    yield from over("Layout", "basis", Layout, "fourier", RealFourier, None, SIZE)
    layout = Layout(basis)
    yield from over("norm", "p", lambda p: layout.norm(torch.ones(1, 1, len(layout)), p), 0.5, NAN, INF, 0, "1", None)


def of_parts(folder: Path) -> Iterator[Bad]:
    basis = RealFourier(SIZE)
    amplitudes = mean_amplitude(basis, IMAGES)
    yield from over("Amplitude", "reference", Amplitude, -amplitudes, amplitudes * NAN, amplitudes.numpy(), "mean",
                    [1.0], torch.ones(1, 6, 3, dtype=torch.complex64))
    yield bad("Phase of nothing", Phase, "basis", "reference")
    yield bad("Phase of real coefficients", lambda: Phase(Cosine(SIZE)), "basis", "Cosine")
    yield from over("Phase", "basis", Phase, "fourier", RealFourier, SIZE)
    yield from over("Phase", "reference", lambda r: Phase(reference=r), torch.ones(1, 6, 3), "noise",
                    np.ones((1, 6, 3)))
    yield from over("Phase", "image", lambda x: Phase(basis, x), torch.rand(1, 8, 8), np.ones((1, *SIZE)),
                    torch.full((1, *SIZE), NAN), torch.ones(1, *SIZE, dtype=torch.uint8))
    yield from over("Phase", "seed", lambda seed: Phase(basis, seed=seed), -1, 2**64, 1.5, None, True)
    yield from over("Rest", "part", Rest, "filter", Filter, None)


def of_mask(folder: Path) -> Iterator[Bad]:
    yield from over("FourierMask", "size", FourierMask, 8, (8.0, 8), (0, 8), None, (8, 8, 8, 8), "8x8")
    yield from over("FourierMask", "n", lambda n: FourierMask(SIZE, n), 0, 2.0, True, None, INF)
    yield from over("FourierMask", "channels", lambda n: FourierMask(SIZE, channels=n), 0, 1.0, "all", None)
    mask = FourierMask(SIZE).double()
    for x in (IMAGES.numpy(), IMAGES.tolist(), None, (IMAGES * 255).byte(), IMAGES.to(torch.complex128), IMAGES[:, 0],
              IMAGES.mT, IMAGES.movedim(1, -1)):
        yield bad(f"FourierMask of x={shown(x)}", lambda x=x: mask(x), "x must")
    yield bad("FourierMask of 3 masks for 12 images", lambda: FourierMask(SIZE, 3)(IMAGES), "x must", "12")
    yield bad("FourierMask of 3 channels for 1", lambda: FourierMask(SIZE, channels=3)(IMAGES), "x must", "channels")
    yield fine("FourierMask of half precision", lambda: mask(IMAGES.half()))
    yield from over("norm", "p", mask.norm, 0.5, NAN, "1", None)
    yield from over("set_", "planes", mask.set_, torch.ones(1, 1, 8, 8), PLANE, PLANE.tolist(), MASKS, None,
                    torch.full((1, 1, *SIZE), NAN), torch.ones(2, 1, *SIZE), torch.ones(1, 3, *SIZE))
    plane = PLANE[None]
    yield from over("complement", "mask", complement, plane * NAN, plane + 1, -plane, plane.numpy(), [0.5], MASKS, None)
    yield from over("complement", "tolerance", lambda t: complement(plane, tolerance=t), NAN, -1, "0", None, INF)


def of_device(folder: Path) -> Iterator[Bad]:
    yield from over("choose_device", "device", device.choose_device, "gpu", "cuda:99", "cpuu", "", 3, 0, ["cpu"],
                    "meta")
    yield fine("choose_device of torch's own", lambda: device.choose_device(torch.device("cpu")))
    variable = mock.patch.dict(os.environ, FOURIER_MASK_DEVICE="gpuu")
    yield bad("FOURIER_MASK_DEVICE misspelt", lambda: inside(variable, device.choose_device), "device", "gpuu")
    yield from over("computing", "precision", lambda p: inside(device.computing(p)), "float16", "TF32", None)
    yield from over("seeded", "seed", lambda seed: inside(device.seeded(seed, None)), -1, 2**64, 1.5, None, True)
    yield fine("seeded by numpy's integer", lambda: inside(device.seeded(np.int64(3), None)))


def inside(context, call=lambda: None):
    "Call something inside a context."
    with context: return call()


def of_models(folder: Path) -> Iterator[Bad]:
    for build in (models.vgg11, models.resnet18):
        name = build.__name__
        yield from over(name, "classes", lambda n, build=build: build(n, width=0.125), 0, 2.0, True, None)
        yield from over(name, "channels", lambda n, build=build: build(2, n, 0.125), 0, 1.0)
        yield from over(name, "width", lambda w, build=build: build(2, 1, w), 0, -1, NAN, INF, "0.5", None)
        yield from over(name, "size", lambda s, build=build: build(2, 1, 0.125, s), 64, (4, 64), (64.0, 64), None)
    model = small_network()
    for name in ("mean", "std"):
        make = lambda value, name=name: Normalized(model, **({"mean": 0.5, "std": 0.5} | {name: value}))
        yield from over("Normalized", name, make, [], NAN, INF, "0.5", None, [0.5, "x"], torch.full((3,), NAN))
    yield from over("Normalized", "std", lambda std: Normalized(model, 0.5, std), 0, -1, [0.2, 0.0, 0.2])
    yield bad("Normalized: 3 means, 2 deviations", lambda: Normalized(model, [0.5] * 3, [0.2] * 2), "mean", "std")
    yield from over("Normalized", "model", lambda m: Normalized(m, 0.5, 0.5), "resnet18", None, model.state_dict())
    colour = Normalized(nn.Flatten(), [0.5] * 3, [0.2] * 3)
    yield bad("Normalized of three channels on one", lambda: colour(IMAGES.float()), "x must", "3 channels")
    yield bad("Normalized of three channels on images without a batch", lambda: colour(torch.rand(3, 8)), "x must")
    yield fine("Normalized of three channels on signals", lambda: colour(torch.rand(3, 3, 8)))
    yield fine("Normalized of whole numbers", lambda: Normalized(model, 0, 1))
    yield fine("Normalized of numpy's numbers", lambda: Normalized(model, np.full(3, 0.5), np.full(3, 0.2)))
    saved, other = folder / "network.safetensors", folder / "other.pt"
    models.save_checkpoint(model, saved)
    torch.save(model.state_dict(), other)
    nowhere = folder / "nowhere" / "network.safetensors"
    yield bad("save_checkpoint: no such folder", lambda: models.save_checkpoint(model, nowhere), "nowhere")
    yield bad("save_checkpoint: path is a folder", lambda: models.save_checkpoint(model, folder), str(folder))
    yield bad("save_checkpoint: model is its weights", lambda: models.save_checkpoint(model.state_dict(), saved),
              "model")
    yield bad("load_checkpoint: no such file", lambda: models.load_checkpoint(model, nowhere), "nowhere")
    yield bad("load_checkpoint: a pickle", lambda: models.load_checkpoint(model, other), "path", "other.pt")
    yield bad("load_checkpoint: a folder", lambda: models.load_checkpoint(model, folder), "path", str(folder))
    larger = small_network((8, 8))
    yield bad("load_checkpoint: of another network", lambda: models.load_checkpoint(larger, saved), "path", "network")


def of_images(folder: Path) -> Iterator[Bad]:
    "What reads pictures, and what names of networks and commands of one's own take."
    good, photos, empty = Reading((6, 5), channels=1), folder / "photos", folder / "empty"
    for place in (photos, empty): place.mkdir()
    for row in range(3): Image.new("L", (9, 8), 40 * row).save(photos / f"{row}.png")
    (photos / "3.png").write_bytes(b"no picture")
    yield from over("Reading", "size", Reading, 224, (0, 4), (4.0, 4), None, "224")
    yield from over("Reading", "resize", lambda n: Reading((6, 5), n), 4, 2.5, "256", True)
    yield from over("Reading", "channels", lambda n: Reading((6, 5), channels=n), 2, None, "3", 3.5)
    yield from over("Reading", "interpolation", lambda how: Reading((6, 5), interpolation=how), "area", None, 3)
    yield from over("Normalized", "reading", lambda how: Normalized(small_network(), 0.5, 0.5, how), 224, (6, 5),
                    "timm")
    yield from over("ImageFiles", "path", lambda path: ImageFiles(path, good), folder / "nowhere", empty, None, 3)
    yield from over("ImageFiles", "reading", lambda how: ImageFiles(photos, how), (6, 5), None, 224)
    yield bad("ImageFiles: a broken file", lambda: read_images(ImageFiles(photos, good)), "3.png", "skip_broken")
    yield fine("ImageFiles: a broken file left out", lambda: read_images(ImageFiles(photos, good, skip_broken=True)))
    yield from over("read_images", "labels", lambda y: read_images(IMAGES, y), None, "gievn", 3, [0, 1])
    yield from over("read_images", "images", read_images, str(photos), 3, None, nn.Identity(), object())
    yield from over("Normalized.from_timm", "model", Normalized.from_timm, "resnet18", None, nn.Identity())
    yield from over("Normalized.from_torchvision", "weights", lambda w: Normalized.from_torchvision(nn.Identity(), w),
                    "DEFAULT", None, 3)
    yield from over("efficientnet_lite", "number", efficientnet_lite, 3, "0", None, True, 0.5)
    model = Normalized(small_network(), 0.5, 0.25).double()
    for what, images in {"bytes": IMAGES * 255, "centred": IMAGES - 2}.items():
        for learn in (learn_image_masks, learn_dataset_mask):
            call = lambda learn=learn, images=images: learn(model, images, LABELS, progress=False)
            yield bad(f"{learn.__name__}: {what}", call, "images", "[0, 1]")
    inside = lambda x: model(x)  # noqa: E731
    yield bad("a Normalized inside a function", lambda: learn_image_masks(inside, IMAGES, progress=False), "model",
              "output_fn")


def of_goals(folder: Path) -> Iterator[Bad]:
    yield from over("Change", "target", goal.Change, -1, 1.5, "3", True, INF, [1])
    yield from over("Change", "margin", lambda m: goal.Change(margin=m), -1, NAN, INF, "x", None, True)
    yield fine("Change to numpy's integer", lambda: goal.Change(np.int64(1)))
    yield fine("Change of a whole margin", lambda: goal.Change(margin=1))
    yield from over("goal_from", "goal", goal.goal_from, "kepe", None, goal.Keep, ["keep"])
    yield from over("loss_from", "loss", goal.loss_from, "crossentropy", None, ["cross_entropy"])


# what learners share

WRONG_IMAGES = (
    IMAGES.tolist(), None, (IMAGES * 255).byte(), (IMAGES * 255).long(), IMAGES > 0,
    IMAGES.to(torch.complex64), IMAGES[0, 0], IMAGES[:0], IMAGES[:, :0], IMAGES * NAN, IMAGES / 0, IMAGES[:, 0],
    IMAGES.movedim(1, -1), IMAGES.expand(-1, 3, -1, -1), IMAGES[..., :4], IMAGES[:, None, None],
)
WRONG_LABELS = (
    LABELS.tolist(), LABELS.float(), LABELS > 0, None, "gievn", LABELS.to(torch.complex64), LABELS[:5], LABELS[0],
    nn.functional.one_hot(LABELS), nn.functional.one_hot(LABELS).float(), LABELS[:, None], LABELS + 1, -LABELS, "012",
    LABELS * NAN,
)
WRONG_SETTINGS = {
    "weight": (-1, NAN, INF, "0.1", None, True, [0.1], torch.ones(2, 2), np.ones((2, 2)), 1j),
    "p": (0.5, NAN, INF, "1", True, None),
    "schedule": ("fats", None, True, ["fast"]),
    "tolerance": (-1, NAN, "x", True),
    "channels": (0, 2, 1.0, "all", True, None),
    "initial": ("zeros", None, 1),
    "starts": (0, 2.0, True, INF, None),
    "seed": (-1, 2**63, 2**64, 1.5, "0", None, True),
    "precision": ("half", "fp32", None, torch.float32),
    "basis": ("furier", "Fourier", None, RealFourier, RealFourier((4, 4)), ["fourier"], torch.eye(5), SIZE),
    "form": ("rings", "Squares", None, Rings, ["Free"], 8),
    "part": ("filtre", "Filter", None, Filter, ["filter"], torch.ones(2, 2)),
    "goal": ("kepp", None, goal.Change, ["keep"], 3),
    "loss": ("crossentropy", None, ["cross_entropy"], nn.functional.cross_entropy, nn.CrossEntropyLoss(),
             nn.CrossEntropyLoss, lambda out, clean, y: out.mean(), lambda out, clean, y: out,
             lambda out, clean, y: out.detach().mean(1), lambda out, y: out.mean(1),
             lambda out, clean, y: out.detach().numpy()),
    "batch_size": (0, -1, 2.0, True, "all", INF, NAN),
    "output_fn": ("logits", 0, lambda out: out.logits, lambda out: out["logits"], lambda out: out[0]),
}


class Rounded(nn.Module):
    "A network that answers in numpy's arrays."

    def forward(self, x): return x.flatten(1).numpy()


WRONG_MODELS = {
    "None": None, "its weights": small_network().state_dict(), "a path": "network.pt", "a class": Rounded,
    "returns a tuple": lambda x: (x.flatten(1),), "returns a dictionary": lambda x: {"logits": x.flatten(1)},
    "returns None": lambda x: None, "returns a number": lambda x: x.sum(), "drops an image": lambda x: x[1:].flatten(1),
    "without gradient": lambda x: x.detach().flatten(1), "returns classes": lambda x: x.flatten(1).argmax(1),
    "answers in numpy's arrays": Rounded(), "returns nan": lambda x: x.flatten(1) * NAN,
    "returns infinity": lambda x: x.flatten(1) / 0, "of three channels": nn.Conv2d(3, 4, 3).double(),
    "of another size": small_network((8, 8)), "of one logit": lambda x: x.flatten(1)[:, :1],
    "of images": lambda x: x, "Normalized inside": nn.Sequential(Normalized(small_network(), 0, 1)),
    "Normalized of three channels": Normalized(small_network(), [0.5] * 3, [0.5] * 3),
}


WITHOUT_SLOPES = ("without gradient",)  # are asked by the methods that count answers
IN_PIXELS = (*WITHOUT_SLOPES, "Normalized inside")  # likewise, by those that put no mask behind a centring


def called(door: Callable, change: dict, folder: Path | None = None):
    "Call a learner with something changed."
    given = dict(model=small_network(), images=IMAGES, labels=LABELS, progress=False) | change
    if door is store_image_masks: given["path"] = folder / f"{len(list(folder.iterdir()))}.zarr"
    return door(**given)


def of_learner(door: Callable, folder: Path, without: tuple[str, ...] = ()) -> Iterator[Bad]:
    "What all doors to a learner are asked."
    name = door.__name__

    def with_(key): return lambda value: called(door, {key: value}, folder)

    yield from over(name, "images", with_("images"), *WRONG_IMAGES)
    yield from over(name, "labels", with_("labels"), *WRONG_LABELS)
    for key, values in WRONG_SETTINGS.items():
        if key not in without: yield from over(name, "p =" if key == "p" else key, with_(key), *values)
    for what, model in WRONG_MODELS.items():
        yield bad(f"{name}: model {what}", lambda model=model: called(door, {"model": model}, folder), "model")
    for key, value in {"wieght": 1, "lambda_": 0.1, "epoch": 3, "max_lr": 0.1, "device": "cpu"}.items():
        yield bad(f"{name}: unknown {key}", lambda key=key, value=value: called(door, {key: value}, folder), key)
    swapped = {"model": IMAGES, "images": small_network()}
    yield bad(f"{name}: model and images swapped", lambda: called(door, swapped, folder), "images", "Sequential")
    yield bad(f"{name}: images and labels swapped", lambda: called(door, {"images": LABELS, "labels": IMAGES}, folder),
              "images", "int64")


def of_image_masks(folder: Path) -> Iterator[Bad]:
    yield from of_learner(learn_image_masks, folder)
    call = lambda **change: called(learn_image_masks, dict(steps=2) | change)
    yield from over("learn_image_masks", "steps", lambda n: call(steps=n), 0, 1.5, True, "ten", INF, NAN, 2.0)
    yield from over("learn_image_masks", "client", lambda c: call(client=c), "tcp://127.0.0.1:8786", 4, True)
    yield bad("target that the network has not", lambda: call(goal=goal.Change(99)), "target", "99")
    wrong_targets = dict(labels=torch.zeros(12, 4), loss="squared_error")
    yield bad("targets of another shape", lambda: call(**wrong_targets), "labels")
    for change in (dict(loss="kullback_leibler"), dict(loss="cross_entropy"), dict(goal="change")):
        flat = dict(model=lambda x: x.flatten(1).sum(1), labels="predicted") | change
        yield bad(f"an answer that is one number, with {change}", lambda flat=flat: call(**flat),
                  "loss" if "loss" in change else "logits")
    yield fine("a weight that is whole", lambda: call(weight=1))
    yield fine("numpy's numbers", lambda: call(weight=np.float32(0.1), steps=np.int64(2), batch_size=np.int64(4)))
    yield fine("steps that are not given", lambda: call(steps=None, images=IMAGES[:1], labels=LABELS[:1], weight=5))
    yield fine("labels of int32", lambda: call(labels=LABELS.int()))
    yield fine("labels of bytes", lambda: call(labels=LABELS.byte()))
    yield fine("images of half precision", lambda: call(images=IMAGES.half()))
    yield fine("images that need a gradient", lambda: call(images=IMAGES.clone().requires_grad_()))
    yield fine("images that are not contiguous", lambda: call(images=IMAGES.mT.contiguous().mT))
    yield fine("a network in training mode", lambda: call(model=small_network().train()))
    yield fine("inside no_grad", lambda: inside(torch.no_grad(), call))


def of_dataset_masks(folder: Path) -> Iterator[Bad]:
    for door in (learn_dataset_mask, learn_class_masks):
        yield from of_learner(door, folder)
        call = lambda door=door, **change: called(door, dict(epochs=2) | change)
        name = door.__name__
        yield bad(f"{name}: steps", lambda call=call: call(steps=3), "steps", "epochs")
        for images in (IMAGES, Pairs(IMAGES), Pairs([(x, None) for x in IMAGES])):
            yield bad(f"{name}: labels that do not come with {type(images).__name__}",
                      lambda images=images, call=call: call(images=images, labels="given"), "labels")
        yield fine(f"{name}: batch_size=None", lambda call=call: call(batch_size=None))
        for epochs in (0, 1.5, True, "ten", INF):
            yield bad(f"{name}: epochs={epochs!r}", lambda epochs=epochs, call=call: call(epochs=epochs), "epochs")
        for what, images in wrong_data_sets().items():
            yield bad(f"{name}: {what}", lambda images=images, call=call: call(images=images, labels="given"), "images")
        yield bad(f"{name}: labels beside a loader",
                  lambda call=call: call(images=DataLoader(TensorDataset(IMAGES, LABELS))), "labels")
        yield fine(f"{name}: labels beside a data set", lambda call=call: call(images=TensorDataset(IMAGES, LABELS)))
        yield fine(f"{name}: a list of pairs",
                   lambda call=call: call(images=list(zip(IMAGES, LABELS, strict=True)), labels="given"))
        yield fine(f"{name}: arrays", lambda call=call: call(images=IMAGES.numpy(), labels=LABELS.numpy()))
        yield fine(f"{name}: a data set that can only be walked",
                   lambda call=call: call(images=Walked(zip(IMAGES, LABELS, strict=True)), labels="given"))
        yield fine(f"{name}: numpy's images in a data set",
                   lambda call=call: call(images=Pairs([(x.numpy(), int(y)) for x,
                                                        y in zip(IMAGES, LABELS, strict=True)]), labels="given"))


class Pairs(Dataset):
    "What a list holds."

    def __init__(self, pairs): self.pairs = list(pairs)
    def __len__(self): return len(self.pairs)
    def __getitem__(self, i): return self.pairs[i]


class Walked(IterableDataset):
    "What can be walked and has no length."

    def __init__(self, pairs): self.pairs = list(pairs)
    def __iter__(self): return iter(self.pairs)


class Broken(Pairs):
    "A data set with a mistake of its own."

    def __getitem__(self, i): return {}["missing"]


def wrong_data_sets() -> dict[str, object]:
    "Data sets that nothing can be learned of."
    pairs = list(zip(IMAGES, LABELS.tolist(), strict=True))
    ragged = [(torch.rand(1, 6 + i % 2, 5).double(), 0) for i in range(4)]
    return {
        "a data set that is empty": Pairs([]),
        "a loader that is empty": DataLoader(TensorDataset(IMAGES, LABELS), 64, drop_last=True),
        "a data set of images of two sizes": Pairs(ragged),
        "a loader of images of two sizes": DataLoader(Pairs(ragged)),
        "a data set of triples": TensorDataset(IMAGES, LABELS, LABELS),
        "a data set of dictionaries": Pairs([{"x": x, "y": y} for x, y in pairs]),
        "a data set of pictures": Pairs([(Image.new("L", (5, 6)), y) for _, y in pairs]),
        "a data set of bytes": Pairs([((x * 255).byte(), y) for x, y in pairs]),
        "a data set of nan": Pairs([(x * NAN, y) for x, y in pairs]),
        "a data set of names": Pairs([(x, "dog") for x, _ in pairs]),
        "a data set with a mistake of its own": Broken(pairs), "a path": "images/train",
    }


def of_path(folder: Path) -> Iterator[Bad]:
    yield from of_learner(learn_mask_path, folder, without=("weight",))
    call = lambda **change: called(learn_mask_path, dict(steps=2) | change)
    yield bad("learn_mask_path: weight", lambda: call(weight=0.1), "weight", "weights")
    yield from over("learn_mask_path", "weights", lambda w: call(weights=w), [], [0.1], [0.1, 0.1], 0.1, "abc", [0, 1],
                    [-1, 1], [NAN, 1], [0.1, "1"], None, [[0.1], [0.2]], [0.1, INF], [0.1, None])
    yield fine("weights of numpy's", lambda: call(weights=np.array([0.1, 1.0])))
    path = call()
    yield from over("curve", "term", path.curve, "sparsty", None, "settings", 0)


def of_folders_of_masks(folder: Path) -> Iterator[Bad]:
    yield from of_learner(store_image_masks, folder)
    there = folder / "there.zarr"
    given = dict(labels=LABELS, weight=0.1, steps=2, progress=False)
    call = lambda path=None, **change: store_image_masks(
        path or folder / f"new-{len(list(folder.iterdir()))}.zarr",
        **dict(model=small_network(), images=IMAGES) | given | change)
    call(there)
    yield from over("store_image_masks", "shard_size", lambda n: call(shard_size=n), 0, 2.5, True, "64", None)
    yield from over("store_image_masks", "index", lambda i: call(index=i), torch.arange(5), torch.ones(12), [0, 1],
                    np.arange(12), LABELS[:, None], torch.ones(12, dtype=torch.bool))
    yield from over("store_image_masks", "steps", lambda n: call(steps=n), 0, 1.5, "ten")
    for what, images in wrong_data_sets().items():
        yield bad(f"store_image_masks: {what}", lambda images=images: call(images=images, labels="given"), "images")
    walked = Walked(zip(IMAGES, LABELS, strict=True))
    yield bad("store_image_masks: a data set that can only be walked", lambda: call(images=walked, labels="given"),
              "images")
    loader = DataLoader(TensorDataset(IMAGES, LABELS), 4)
    yield bad("store_image_masks: a loader", lambda: call(images=loader, labels="given"), "images", "DataLoader")
    a_file, other = folder / "notes.txt", folder / "pictures"
    a_file.write_text("hello")
    other.mkdir()
    yield bad("store_image_masks: path is a file", lambda: call(a_file), "path", "notes.txt")
    yield bad("store_image_masks: path is another folder", lambda: call(other), "path", "pictures")
    yield bad("store_image_masks: path below a file", lambda: call(a_file / "a.zarr"), "notes.txt")
    yield bad("store_image_masks: another weight", lambda: call(there, weight=0.2), "path", "weight")
    yield bad("store_image_masks: other images", lambda: call(there, images=IMAGES + 1), "path", "images")
    yield bad("store_image_masks: fewer images", lambda: call(there, images=IMAGES[:3], labels=LABELS[:3]), "path")
    yield bad("store_image_masks: another network", lambda: call(there, model=other_network()), "path")
    yield bad("store_image_masks: client that is an address", lambda: call(client="tcp://127.0.0.1:1"), "client")
    yield fine("store_image_masks: there already", lambda: call(there))
    for read in (shards.open_masks, MaskSet.load):
        for path in (folder / "nowhere", a_file, other, folder / "", 3, None):
            what = f"{read.__name__} of {getattr(path, 'name', path)!r}"
            yield bad(what, lambda read=read, path=path: read(path), "path")
    for path in (there, a_file, other, a_file / "below.zarr"):
        yield bad(f"MaskSet.save to {path.name}", lambda path=path: MASKS.save(path),
                  str(a_file if path.name == "below.zarr" else path))
    yield bad("MaskSet.save over a file", lambda: MASKS.save(a_file, overwrite=True), "path", "notes.txt")
    yield bad("MaskSet.save over another folder", lambda: MASKS.save(other, overwrite=True), "path", "pictures")
    yield from over("MaskSet.save", "shard_size",
                    lambda n: MASKS.save(folder / "set.zarr", shard_size=n, overwrite=True),
                    0, -1, 2.5, "64", None)
    yield from over("MaskSet.save", "path", MASKS.save, None, 3)


def other_network():
    "Of the same build, with other weights."
    network = small_network()
    with torch.no_grad(): network[0].bias += 0.1
    return network


def of_mask_sets(folder: Path) -> Iterator[Bad]:
    change = lambda **fields: replace(MASKS, **fields)
    planes = MASKS.masks
    yield from over("MaskSet", "masks", lambda m: change(masks=m), planes.tolist(), planes.numpy(), planes.long(), None,
                    planes * NAN, planes + 1, planes - 1, planes[:, 0, 0], torch.rand(2, 1, *SIZE), planes.bool())
    for name in ("labels", "objective", "sparsity", "steps", "converged", "index"):
        value = getattr(MASKS, name)
        wrong = [value.tolist(), value.numpy(), value[:1], value[:, None], value.to(torch.complex64), "x"]
        wrong += [None] if name != "index" else []
        wrong += [value.float()] if name in ("labels", "steps", "converged", "index") else [value > 0]
        yield from over("MaskSet", name, lambda v, name=name: change(**{name: v}), *wrong)
    yield from over("MaskSet", "settings", lambda s: change(settings=s), None, "fast", {"a": {1, 2}}, {"a": NAN}, [1],
                    {"basis": "fourier"}, {"basis": {"name": "RealFourier", "space": [4, 4]}}, {"goal": None})
    yield from over("MaskSet", "trace", lambda t: change(trace=t), None, {"a": [1.0]}, {"a b": torch.ones(3)},
                    {"a": torch.ones(3, 3)}, {"a": torch.ones(3), "b": torch.ones(4)}, [1], torch.ones(3))
    yield from over("MaskSet", "held", lambda h: change(held=h), None, {"matrix": torch.eye(3)}, {"basis/matrix": [1]},
                    [1])
    for index in (99, -3, [0, 99], "a", 1.5, None, torch.tensor([5]), torch.tensor([True]), torch.tensor([0.0]),
                  (0, 0)):
        yield bad(f"MaskSet at {shown(index)}", asked(lambda index=index: MASKS[index]), "index")
    for index in (np.int64(1), torch.tensor(1), [0, 1], [True, False], slice(0, 0), np.array([1]), torch.tensor([0])):
        yield fine(f"MaskSet at {shown(index)}", lambda index=index: MASKS[index])
    others = {"size": SQUARE, "weight": change(settings={"weight": 0.3, "p": 1}), "sets": "masks.zarr"}
    for what, other in others.items():
        yield bad(f"MaskSet.join: other {what}", lambda other=other: MaskSet.join([MASKS, other]), "sets")
    yield from over("MaskSet.join", "sets", MaskSet.join, [], None, planes, [planes, planes])
    yield fine("MaskSet.join of a set, which is the masks in it", lambda: MaskSet.join(MASKS))
    yield from over("MaskSet.apply", "x", MASKS.apply, IMAGES[:2].numpy(), None, (IMAGES[:2] * 255).byte(),
                    IMAGES[:2, 0],
                    IMAGES, IMAGES[:2, :, :4], IMAGES[:2].to(torch.complex64))
    x = IMAGES[:2]
    yield from over("MaskSet.apply", "basis", lambda b: MASKS.apply(x, basis=b), "cosine", RealFourier,
                    RealFourier((8, 8)))
    yield from over("MaskSet.apply", "part", lambda p: MASKS.apply(x, part=p), "rest", Rest,
                    Amplitude(torch.ones(1, 3, 3)))
    phases = random_set(part=Phase(RealFourier(SIZE)))
    yield bad("complement of masks of phases", phases.complement, "complement", "Phase")
    yield bad("a basis of which nothing is held", lambda: replace(
        random_set(basis=Linear(torch.eye(30), SIZE)), held={}).apply(x), "held", "basis/matrix")
    nothing = MASKS[:0]
    for name in ("summary", "centered", "complement", "__repr__", "_repr_html_"):
        yield fine(f"{name} of an empty MaskSet", getattr(nothing, name))
    yield fine("MaskSet.save of an empty set", lambda: nothing.save(folder / "empty.zarr"))
    yield fine("MaskSet.load of an empty set", lambda: MaskSet.load(folder / "empty.zarr"))
    yield bad("an empty MaskSet applied", lambda: nothing.apply(x), "x must")


def of_minimal(folder: Path) -> Iterator[Bad]:
    x = IMAGES[:2]
    call = lambda **change: minimal_sufficient(**dict(model=small_network(), images=x, masks=MASKS) | change)
    yield from over("minimal_sufficient", "images", lambda x: call(images=x), *WRONG_IMAGES)
    yield from over("minimal_sufficient", "images", lambda x: call(images=x), IMAGES.numpy(), IMAGES, IMAGES[:1])
    yield from over("minimal_sufficient", "masks", lambda m: call(masks=m), MASKS.masks, None, "masks.zarr", SQUARE,
                    random_set(part=Rest(Filter())), [MASKS[0], MASKS[1]], random_set(channels=3))
    yield from over("minimal_sufficient", "tolerance", lambda t: call(tolerance=t), NAN, -1, "0", None, INF)
    yield from over("minimal_sufficient", "batch_size", lambda n: call(batch_size=n), 0, 2.5, None)
    yield from over("minimal_sufficient", "output_fn", lambda f: call(output_fn=f), "logits", lambda out: out.logits)
    for what, model in WRONG_MODELS.items():
        row = fine if what in WITHOUT_SLOPES else bad
        yield row(f"minimal_sufficient: model {what}", lambda model=model: call(model=model), *["model"] * (row is bad))


def of_learned_basis(folder: Path) -> Iterator[Bad]:
    left_out = {"weight", "p", "schedule", "tolerance", "channels", "initial", "starts", "seed", "precision", "basis",
                "form",
                "part"}
    call = lambda **change: called(learn_basis, dict(steps=2) | change)
    yield from over("learn_basis", "images", lambda x: call(images=x), IMAGES.numpy(), *WRONG_IMAGES)
    yield from over("learn_basis", "labels", lambda y: call(labels=y), *WRONG_LABELS)
    for key in WRONG_SETTINGS.keys() - left_out:
        yield from over("learn_basis", key, lambda v, key=key: call(**{key: v}), *WRONG_SETTINGS[key])
    for what, model in WRONG_MODELS.items():
        yield bad(f"learn_basis: model {what}", lambda model=model: call(model=model), "model")
    yield from over("learn_basis", "weight", lambda w: call(weight=w), 0, -1, NAN, INF, "0.1", None, True, [1])
    yield from over("learn_basis", "steps", lambda n: call(steps=n), 0, 2.5, True, None)
    yield from over("learn_basis", "tell", lambda t: call(tell=t), "print", None)
    for what, images in {"too many images": torch.zeros(5000, 1, 2, 2), "too large": torch.zeros(1, 1, 80, 80)}.items():
        yield bad(f"learn_basis: {what}", lambda images=images: call(images=images, labels="predicted"), "images")
    learned = call()
    yield from over("LearnedBasis.apply", "x", learned.apply, IMAGES[..., :4], IMAGES.numpy(), None,
                    (IMAGES * 255).byte())
    compare = lambda **change: compare_bases(**dict(
        model=small_network(), images=IMAGES, labels=LABELS, unseen=IMAGES, steps=2, progress=False) | change)
    yield from over("compare_bases", "unseen", lambda x: compare(unseen=x), IMAGES[..., :4], None, IMAGES.numpy(),
                    IMAGES[:0])
    yield from over("compare_bases", "images", lambda x: compare(images=x), IMAGES.numpy(), IMAGES * NAN)
    yield from over("compare_bases", "labels", lambda y: compare(labels=y), None, LABELS[:3])
    yield from over("compare_bases", "weight", lambda w: compare(weight=w), 0, NAN)
    yield from over("compare_bases", "steps", lambda n: compare(steps=n), 0, 2.5)


# images and training

def of_data(folder: Path) -> Iterator[Bad]:
    pixels, labels = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
    good = data.Images(pixels, labels)
    make = lambda part, **change: data.Data("mine", ("a", "b", "c"), **{"train": good, "val": good} | {
        part: replace(good, **change)})
    for part in ("train", "val"):
        for key, values in {
            "images": (pixels.numpy(), pixels.tolist(), None, pixels[:, 0], pixels * 255, pixels * NAN, pixels.long(),
                       pixels.to(torch.complex64), pixels[:0], pixels.double() - 1),
            "labels": (labels.tolist(), labels.numpy(), labels.float(), labels[:3], labels * 0, labels + 1, None,
                       nn.functional.one_hot(labels)),
            "extent": ([[8, 8]] * 6, torch.full((6, 2), 9), torch.full((3, 2), 8), torch.zeros(6, 2, dtype=torch.long)),
        }.items():
            for value in values:
                yield bad(f"Data: {part}.{key}={shown(value)}",
                          lambda part=part, key=key, value=value: make(part, **{key: value}), part)
    yield bad("Data: val of bytes", lambda: make("val", images=(pixels * 255).byte()), "val")
    yield bad("Data: val of other channels", lambda: make("val", images=pixels.expand(-1, 3, -1, -1)), "val", "channel")
    yield bad("Data: train that is a pair", lambda: data.Data("mine", ("a", "b", "c"), (pixels, labels), good), "train")
    yield bad("Data: classes in one word", lambda: data.Data("mine", "abc", good, good), "classes")
    yield from over("fashion5", "n_train", data.fashion5, 0, 2, 10**6, 100.5, "100", None, NAN, True)
    yield from over("fashion5", "n_val", lambda n: data.fashion5(10, n), 0, 2, 10**6, 100.5, INF)
    yield from over("planted", "frequencies", data.planted, [], [(1, 2)], 3, [1, 2, 3], [(1, 2), (3,)], None,
                    [(1, NAN), (2, 1)])
    yield from over("planted", "size", lambda s: data.planted(size=s), 8, (8.0, 8), (0, 8))
    for key in ("n_train", "n_val"):
        yield from over("planted", key, lambda n, key=key: data.planted(**{key: n}), 0, 2.5, True, "9", 2)
    for key in ("amplitude", "noise"):
        yield from over("planted", key, lambda n, key=key: data.planted(n_train=9, n_val=9, **{key: n}), NAN, "1", None,
                        INF)
    yield from over("planted", "seed", lambda s: data.planted(n_train=9, n_val=9, seed=s), -1, 2**64, 1.5, None)
    yield from of_image_folders(folder)
    yield from over("front_of_each", "n", lambda n: data.front_of_each(labels, n), -1, 2.5, "3")


def of_image_folders(folder: Path) -> Iterator[Bad]:
    root = folder / "images"
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            Image.new("L", (9, 8), 100).save(root / part / name / "a.png")
    call = lambda **change: data.image_folder(**dict(path=root, size=8) | change)
    yield from over("image_folder", "size", lambda n: call(size=n), 0, 8.5, 8.0, (8, 8), "8", None, True)
    yield from over("image_folder", "channels", lambda n: call(channels=n), 0, 2, "1", None, "grey")
    yield from over("image_folder", "path", lambda p: call(path=p), folder / "nowhere", root / "train", None, 3,
                    root / "train" / "cat" / "a.png")
    yield fine("image_folder in colour", lambda: call(channels=3))
    broken, fewer, empty = (copy_of(root, folder / name) for name in ("broken", "fewer", "empty"))
    (broken / "train" / "cat" / "a.png").write_bytes(b"no picture")
    yield bad("image_folder: a broken file", lambda: call(path=broken), "a.png")
    (fewer / "val" / "dog").rename(fewer / "val" / "dogs")
    yield bad("image_folder: other classes in val", lambda: call(path=fewer), "classes", "dogs")
    (empty / "train" / "cat" / "a.png").unlink()
    yield bad("image_folder: a class without files", lambda: call(path=empty), "path", "cat")


def copy_of(root: Path, place: Path) -> Path:
    "A folder once more."
    import shutil

    return shutil.copytree(root, place)


def of_imagenette(folder: Path) -> Iterator[Bad]:
    root, out = folder / "imagenette2", folder / "cache"
    for part in ("train", "val"):
        for wordnet_id in imagenette.CLASSES:
            (root / part / wordnet_id).mkdir(parents=True)
            Image.new("RGB", (24, 20), (100, 50, 10)).save(root / part / wordnet_id / "a.JPEG")
    call = lambda **change: imagenette.prepare_imagenette5(
        **dict(path=root, out=out, size=16, progress=False) | change)
    call()
    yield from over("prepare_imagenette5", "size", lambda n: call(size=n, out=folder / "new"), 0, 16.5, 16.0, "16",
                    (16, 16), None, True)
    yield from over("prepare_imagenette5", "path", lambda p: call(path=p), folder / "nowhere", root / "train",
                    folder / "images")
    yield from over("prepare_imagenette5", "download", lambda d: call(download=d), "160", 160, "big", True)
    yield bad("prepare_imagenette5: out that holds something else", lambda: call(out=root), "out")
    yield bad("prepare_imagenette5: out of another size", lambda: call(size=8), "out", "overwrite")
    lost = copy_of(root, folder / "lost")
    (lost / "val" / next(iter(imagenette.CLASSES)) / "a.JPEG").write_bytes(b"no picture")
    yield bad("prepare_imagenette5: a broken file", lambda: call(path=lost, out=folder / "new"), "path", "a.JPEG")
    yield bad("prepare_imagenette5: a class of broken files alone",
              lambda: call(path=lost, out=folder / "new", skip_broken=True), "path", "English springer")
    read = lambda **change: imagenette.imagenette5(**dict(folder=out, size=16) | change)
    yield from over("imagenette5", "folder", lambda f: read(folder=f), folder / "nowhere", root, None)
    yield from over("imagenette5", "size", lambda n: read(size=n), 8, 0, "16", None)
    for key in ("n_train", "n_val"):
        yield from over("imagenette5", key, lambda n, key=key: read(**{key: n}), 0, 4, 10**6, 5.5, "5")
    cut = copy_of(out, folder / "cut")
    (cut / "record.json").write_text("{")
    yield bad("imagenette5: a record that was cut short", lambda: read(folder=cut), "record.json")
    less = copy_of(out, folder / "less")
    (less / "val_images.npy").unlink()
    yield bad("imagenette5: an array that is gone", lambda: read(folder=less), "val_images.npy")


def of_crops(folder: Path) -> Iterator[Bad]:
    extent = torch.full((2, 2), 8)
    for name in ("scale", "ratio"):
        yield from over("crop_boxes", name, lambda v, name=name: crops.crop_boxes(extent, **{name: v}), (0, 1),
                        (1, 0.5),
                        (NAN, 1), 0.5, None, (0.5,), (-1, 1), ("a", "b"))
    x = torch.rand(2, 1, 8, 8)
    yield from over("random_resized_crop", "size", lambda s: crops.random_resized_crop(x, None, s), 4, (4.0, 4), (0, 4),
                    None)
    yield from over("random_resized_crop", "images", lambda x: crops.random_resized_crop(x, None, (4, 4)), x.numpy(),
                    x[0], None, x.to(torch.complex64))


def of_train(folder: Path) -> Iterator[Bad]:
    for key, values in {
        "architecture": ("vgg16", None, 11), "width": (0, -1, NAN, "1", True), "batch_size": (0, 1, 2.5, None, "64"),
        "epochs": (None, 0, 2.5, "ten", True, {"natrual": 3}, {"natural": 0}, {"natural": None}, [1, 2]),
        "max_lr": (0, NAN, INF, "x"), "rise": (0, 1, NAN), "precision": ("fp16", None), "compile": (1, "yes", None),
        "attack": (None, 3, {"eps": 3}, {"eps_255": -1}), "optimizer": ("sgd",),
    }.items():
        yield from over("TrainSettings", key, lambda v, key=key: train.TrainSettings(**{key: v}), *values)
    for key, values in {"eps_255": (-1, 300, NAN, "8/255"), "train_steps": (0, 1.5), "eval_images": (0, None)}.items():
        yield from over("AttackSettings", key, lambda v, key=key: train.AttackSettings(**{key: v}), *values)
    yield bad("a setting that is changed later", lambda: setattr(train.TrainSettings(), "width", 1), "width")
    small = data.planted(((1, 2), (2, 1)), (32, 32), 8, 8)
    quick = train.TrainSettings(width=0.125, epochs=1, batch_size=4, attack=train.AttackSettings(
        train_steps=1, eval_steps=1, eval_images=4))
    call = lambda **change: train.train_network(**dict(
        data=small, regime="natural", settings=quick, progress=False) | change)
    yield from over("train_network", "regime", lambda r: call(regime=r), "natrual", None, 3, ["natural"])
    yield from over("train_network", "settings", lambda s: call(settings=s), None, {"epochs": 1},
                    train.AttackSettings(), "quick")
    yield from over("train_network", "data", lambda d: call(data=d), None, (small.train, small.val), small.train,
                    "fashion5")
    yield from over("train_network", "seed", lambda s: call(seed=s), -1, 2**64, 1.5, None, True)
    yield from over("train_network", "device", lambda d: call(device=d), "gpu", "cuda:99", "")
    yield from over("new_network", "settings", lambda s: train.new_network(small, s), None, {"width": 1})
    x = torch.rand(2, 1, 8, 8)
    yield from over("augment", "regime", lambda r: train.augment(x, r), "rotaton", None, "Rotation", 3)
    yield from over("augment", "x", lambda x: train.augment(x, "rotation"), x.numpy(), x[0, 0], None, (x * 255).byte())
    logits, labels = torch.rand(4, 3), torch.arange(4) % 3
    yield from over("accuracy_pct", "labels", lambda y: train.accuracy_pct(logits, y), labels[:1], labels[:, None],
                    labels.tolist(), labels.float(), labels[:3], None)
    yield from over("accuracy_pct", "logits", lambda z: train.accuracy_pct(z, labels), logits.tolist(), logits[:, 0],
                    None)
    network = train.new_network(small, quick)
    images = small.val.images
    yield from over("predict", "batch_size", lambda n: train.predict(network, images, n), 0, 2.5, None)
    yield from over("predict", "images", lambda x: train.predict(network, x), images.numpy(), None, images * NAN,
                    images[:, 0])
    yield from over("predict", "model", lambda m: train.predict(m, images), None, network.state_dict(), "network.pt")
    robust = lambda **change: train.robust_accuracy_pct(**dict(
        model=network, images=small.val, settings=quick.attack) | change)
    yield from over("robust_accuracy_pct", "images", lambda x: robust(images=x), images, None, small)
    yield from over("robust_accuracy_pct", "settings", lambda s: robust(settings=s), quick, None)
    yield from over("robust_accuracy_pct", "seed", lambda s: robust(seed=s), -1, 2**64)
    yield from over("robust_accuracy_pct", "batch_size", lambda n: robust(batch_size=n), 0)


# what is measured of masks

def of_energies(folder: Path) -> Iterator[Bad]:
    planes, names = MASKS.masks, ["a", "b"]
    wrong = (MASKS, planes.numpy(), planes.tolist(), None, planes[0, 0], planes * NAN)
    yield from over("mask_summary", "masks", lambda m: band_energies.mask_summary(m, names), *wrong)
    yield from over("mask_summary", "names", lambda n: band_energies.mask_summary(planes, n), ["a"], [], None, "abc")
    pair = {"a": planes[0], "b": planes[1]}
    table = lambda masks=pair, reference="a", n=8: band_energies.band_table(masks, reference, n)
    yield from over("band_table", "reference", lambda r: table(reference=r), "c", None, 0)
    yield from over("band_table", "n", lambda n: table(n=n), 0, 2.5, True)
    yield from over("band_table", "masks", lambda m: table(m), {}, MASKS, planes, None, {"a": planes[0], "b": None},
                    {"a": MASKS[0]}, {"a": planes[0, 0]}, {"a": planes[0] * NAN})
    starts = {name: plane[None] for name, plane in pair.items()}
    yield from over("with_starts", "reference", lambda r: band_energies.with_starts(table(), starts, r), "natural",
                    None)
    yield from over("with_starts", "masks", lambda m: band_energies.with_starts(table(), m, "a"), {"a": starts["a"]},
                    pair, None)
    yield from over("with_starts", "table", lambda t: band_energies.with_starts(t, starts, "a"), None, pd.DataFrame(),
                    {})
    yield from over("isotropic", "mask", band_energies.isotropic, planes, planes.numpy(), None, planes[0, 0] * NAN)
    yield from over("isotropic", "n", lambda n: band_energies.isotropic(planes[0, 0], n), 0, 2.5)
    for call in (lambda a, b, **n: mask_pairs.exceed_table(a, b, **n), mask_pairs.centroid_shift):
        yield from over("pairs of masks", "masks", lambda m, call=call: call(m, planes), *wrong, planes[:1], planes[:0])
        yield from over("pairs of masks", "reference", lambda m, call=call: call(planes, m), *wrong)
    yield from over("exceed_table", "n", lambda n: mask_pairs.exceed_table(planes, planes, n), 0, 2.5, True)
    yield bad("centroid_shift of empty masks", lambda: mask_pairs.centroid_shift(planes * 0, planes), "masks")


def of_accuracy(folder: Path) -> Iterator[Bad]:
    yield from over("share_interval", "k", lambda k: accuracy.share_interval(k, 4), 5, -1, 2.5, "2", None, NAN)
    yield from over("share_interval", "n", lambda n: accuracy.share_interval(0, n), 0, 2.5, None, -1)
    yield fine("share_interval of numpy's counts", lambda: accuracy.share_interval(np.int64(2), np.int32(4)))
    yield from over("mean_spread", "values", accuracy.mean_spread, pd.Series([1.0]), [], None, "12",
                    pd.Series(["a", "b"]),
                    pd.Series([1.0, NAN]))
    right = np.array([True, False, True])
    for call in (accuracy.paired_difference, accuracy.accuracy_row):
        name = call.__name__
        yield from over(name, "before", lambda b, call=call: call(b, right), right[:2], right[:0],
                        np.ones((3, 2), bool),
                        np.array([0.9, 0.1, 0.4]), np.array([2, 0, 1]), None, "abc")
        yield from over(name, "after", lambda a, call=call: call(right, a), np.array([0.9, 0.1, 0.4]), None, [0.5] * 3)
        yield fine(f"{name} of a tensor", lambda call=call: call(torch.tensor(right), torch.tensor(right)))
    yield from over("share_table", "right", accuracy.share_table, {"a": right[:0]}, {"a": [0.5, 0.5]},
                    {"a": np.array([0.9])},
                    {"a": None}, right, None, {}, {"a": right[None]})


def of_translations(folder: Path) -> Iterator[Bad]:
    signal, k = torch.rand(16), torch.arange(16.0)
    yield from over("amplitude_spectrum", "signal", translations.amplitude_spectrum, [1.0], signal.numpy(), None,
                    signal * NAN, signal.to(torch.complex64), signal[:0])
    yield from over("power_above", "signal", lambda s: translations.power_above(s, 0.1), [1.0], None, signal * NAN)
    yield from over("power_above", "frequency", lambda f: translations.power_above(signal, f), NAN, "0.1", None, -1,
                    0.6)
    for damping in (translations.sinc_damping, translations.dirichlet_damping):
        name = damping.__name__
        yield from over(name, "n", lambda n, damping=damping: damping(k, n, 2), 0, 2.5, -1, "16", None)
        yield from over(name, "reach", lambda r, damping=damping: damping(k, 16, r), NAN, -1, "2", None, INF)
        yield from over(name, "k", lambda k, damping=damping: damping(k, 16, 2), [1.0], k.numpy(), None, k * NAN)
    yield from over("dirichlet_damping", "reach", lambda r: translations.dirichlet_damping(k, 16, r), 2.5)
    yield from over("predicted_mask", "mask", lambda m: translations.predicted_mask(m, 0.1), MASKS, MASKS.masks[0],
                    PLANE.numpy(), PLANE * NAN, None)
    yield from over("predicted_mask", "reach", lambda r: translations.predicted_mask(PLANE, r), NAN, -0.1, 4, "0.1",
                    None)
    for key, values in {"n": (0, 2.5), "reach": (-1, 2.5, NAN), "points": (0, 2.5), "seed": (-1, 2**64, None)}.items():
        yield from over("translation_losses", key, lambda v, key=key: translations.translation_losses(**{key: v}),
                        *values)


def of_directions(folder: Path) -> Iterator[Bad]:
    build, quick = lambda: nn.Sequential(nn.Flatten(), nn.Linear(30, 1)), dict(progress=False)
    wrong = (None, "linear", nn.Linear(30, 1), lambda: None, lambda: nn.Flatten(), nn.Linear)
    nads = lambda **change: directions.neural_anisotropy_directions(
        **dict(build=build, size=SIZE, n=3, **quick) | change)
    waves = directions.fourier_directions(SIZE, grid=3)[0]
    probe = lambda **change: directions.directional_probe(
        **dict(build=build, directions=waves, n=8, epochs=1, **quick) | change)
    for name, door in (("neural_anisotropy_directions", nads), ("directional_probe", probe)):
        yield from over(name, "build", lambda b, door=door: door(build=b), *wrong)
        yield from over(name, "seed", lambda v, door=door: door(seed=v), -1, 2**64, 1.5, None)
        yield from over(name, "n", lambda v, door=door: door(n=v), 1, 2.5, None, True)
        yield from over(name, "batch_size", lambda v, door=door: door(batch_size=v), 0, 2.5, None)
    yield from over("neural_anisotropy_directions", "size", lambda v: nads(size=v), 8, (6,), (6, 5.0), None)
    yield from over("neural_anisotropy_directions", "channels", lambda v: nads(channels=v), 0, 1.5, None)
    yield from over("neural_anisotropy_directions", "step", lambda v: nads(step=v), 0, -1, NAN, "100")
    yield bad("neural_anisotropy_directions of another size", lambda: nads(size=(4, 4)), "build")
    yield fine("neural_anisotropy_directions of exact slopes", lambda: nads(step=None))
    yield from over("directional_probe", "directions", lambda v: probe(directions=v), None, waves.numpy(), 2 * waves,
                    waves * NAN, waves[0], waves[:0], [1.0])
    for name in ("eps", "sigma", "lr"):
        yield from over("directional_probe", name, lambda v, name=name: probe(**{name: v}), 0, -1, NAN, "1", None)
    yield from over("directional_probe", "epochs", lambda v: probe(epochs=v), 0, 1.5, None)
    yield from over("fourier_directions", "size", directions.fourier_directions, 8, (6,), None)
    yield from over("fourier_directions", "grid", lambda g: directions.fourier_directions(SIZE, grid=g), 2, 99, 3.0)
    yield from over("fourier_directions", "channels", lambda c: directions.fourier_directions(SIZE, channels=c), 0,
                    None)
    values = torch.ones(len(waves))
    yield from over("spectral_weight", "eigenvalues", lambda v: directions.spectral_weight(waves, v), values[:1],
                    -values, values * NAN, values.tolist(), None)
    yield from over("best_linear_accuracy", "share", directions.best_linear_accuracy, values + 1, -values, 0.5, None)
    yield from over("plot_directions", "most", lambda n: directions.plot_directions(waves, values, n), 0, 2.5, None)


def of_texture(folder: Path) -> Iterator[Bad]:
    images, labels = IMAGES.sigmoid().float(), LABELS
    model = lambda x: torch.stack([x.mean((1, 2, 3)), x[..., 0].mean((1, 2)), x[..., 1].mean((1, 2))], 1)
    for door in (texture.phase_choice, texture.patch_accuracy):
        name, call = door.__name__, lambda door=door, **change: door(**dict(model=model, images=images) | change)
        yield from over(name, "images", lambda v, call=call: call(images=v), None, images - 0.7, images[:, 0],
                        images * 9, images * NAN, 3)
        yield from over(name, "labels", lambda v, call=call: call(labels=v), labels[:3], labels.float(), "mine", None)
        yield from over(name, "model", lambda v, call=call: call(model=v), None, "resnet", 3)
        yield from over(name, "seed", lambda v, call=call: call(seed=v, labels=labels), -1, 1.5, None)
        yield from over(name, "batch_size", lambda v, call=call: call(batch_size=v, labels=labels), 0, 2.5, None)
    yield bad("phase_choice of one class", lambda: texture.phase_choice(model, images, 0 * labels), "labels must")
    yield from over("patch_accuracy", "patches", lambda v: texture.patch_accuracy(model, images, patches=v), 2, [], "1")
    yield bad("patch_accuracy: a patch that does not fit",
              lambda: texture.patch_accuracy(model, images, patches=[4]), "patch must", "4")
    yield from over("patches_shuffled", "patch", lambda p: texture.patches_shuffled(images, p), 0, 2, 1.0, None, 99)
    yield from over("patches_shuffled", "images", lambda x: texture.patches_shuffled(x, 1), None, images.numpy(),
                    images[0], images * NAN)
    yield from over("swapped", "images", lambda x: texture.swapped(x, images), None, images.numpy(), images[0])
    yield from over("swapped", "others", lambda x: texture.swapped(images, x), None, images[:2], images * NAN)
    said, other = torch.zeros(4).long(), torch.ones(4).long()
    yield from over("shape_bias", "predictions", lambda v: texture.shape_bias(v, said, other), None, [0], said.float())
    yield from over("shape_bias", "shapes", lambda v: texture.shape_bias(said, v, other), None, said[:2], other)
    yield from over("shape_bias", "textures", lambda v: texture.shape_bias(said, said, v), None, other.float(), said)
    logits = torch.zeros(2, 3)
    yield from over("entry_level", "groups", lambda g: texture.entry_level(logits, g), {}, None, {"a": []}, {"a": [3]},
                    {"a": [0], "b": [0]}, {"a": [0.0]}, {"a": [-1]})
    yield from over("entry_level", "logits", lambda v: texture.entry_level(v, {"a": [0]}), None, logits[0],
                    logits * NAN)
    for key, values in {"n": (0, 2.5, None), "size": (32, (8, 32), (32,)), "split": ("both", None, 1),
                        "period": (1, NAN), "lift": (-1, 0.6, "0.1"), "contrast": (-0.1, 1, NAN), "channels": (0, None),
                        "seed": (-1, None)}.items():
        yield from over("shape_texture_grid", key,
                        lambda v, key=key: texture.shape_texture_grid(**dict(n=3) | {key: v}), *values)
    yield from over("plot_choices", "choices", texture.plot_choices, {}, None, {"a": 0.5}, [1])
    yield from over("plot_patches", "tables", texture.plot_patches, {}, None, {"a": 0.5}, {"a": pd.DataFrame()})


def of_symmetries(folder: Path) -> Iterator[Bad]:
    losses, m, mask = symmetries.symmetry_losses, torch.arange(4.0), torch.rand(10, 9)
    for key, values in {"size": (8, (8,), None), "group": ("shear", None, 1), "reach": (-1, 32, 2.5),
                        "points": (0, None), "seed": (-1, None, 1.5)}.items():
        yield from over("symmetry_losses", key, lambda v, key=key: losses(**{key: v}), *values)
    yield from over("measured_damping", "plain", lambda v: symmetries.measured_damping(v, m), None, [1.0], m * NAN,
                    m[:2])
    yield from over("measured_damping", "averaged", lambda v: symmetries.measured_damping(m, v), None, m[:2], m[None])
    yield from over("rotation_damping", "reach_deg", lambda a: symmetries.rotation_damping(m, a), -1, 181, NAN, "9",
                    None)
    yield from over("scale_damping", "frequency", symmetries.scale_damping, None, 1.0, [1.0], m * NAN)
    yield from over("scale_damping", "low", lambda v: symmetries.scale_damping(m, v), 0, -1, 2, NAN, None)
    yield from over("scale_damping", "high", lambda v: symmetries.scale_damping(m, 0.5, v), 0.5, INF, NAN, None)
    yield from over("scale_damping", "drawn", lambda v: symmetries.scale_damping(m, drawn=v), "even", None, 1)
    for read in (symmetries.angular_spectrum, symmetries.anisotropy, symmetries.log_radial_spectrum):
        name = read.__name__
        yield from over(name, "mask", read, None, mask.numpy(), mask[0], mask * NAN, MASKS)
        yield from over(name, "angles", lambda v, read=read: read(mask, 4 if read is not symmetries.log_radial_spectrum
                                                                  else 16, v), 0, 3, 2.5, None)
    for read in (symmetries.angular_spectrum, symmetries.anisotropy):
        yield from over(read.__name__, "rings", lambda n, read=read: read(mask, n), 0, 5, 2.5, None, "4")
    yield from over("anisotropy", "orders", lambda m: symmetries.anisotropy(mask, 4, orders=m), [-1], [99],
                    [0.5], [None])
    yield from over("shuffled_rings", "mask", symmetries.shuffled_rings, None, mask.numpy(), mask[0], mask * NAN, MASKS)
    for name, values in dict(n=(0, 2.5, None, "3"), seed=(-1, 0.5, None)).items():
        shuffled = lambda value, name=name: symmetries.shuffled_rings(mask, **{name: value})
        yield from over("shuffled_rings", name, shuffled, *values)
    yield from over("log_radial_spectrum", "samples", lambda n: symmetries.log_radial_spectrum(mask, n), 0, 7, 2.5,
                    None)
    yield bad("log_radial_spectrum of a small mask", lambda: symmetries.log_radial_spectrum(PLANE), "mask must", "8")
    yield from over("plot_mask_symmetries", "masks", symmetries.plot_mask_symmetries, {}, None, mask, {"a": None},
                    {"a": mask.numpy()})
    yield from over("plot_symmetry_losses", "losses", symmetries.plot_symmetry_losses, {}, None, m)


def of_separability(folder: Path) -> Iterator[Bad]:
    labels, rows = np.arange(20) % 2, np.arange(20)
    features = np.random.default_rng(0).normal(size=(20, 3))
    split = separability.split_by_class
    yield from over("split_by_class", "test", lambda t: split(labels, t), 0, 1, 2, NAN, -0.1, "0.2", None, 0.01)
    yield from over("split_by_class", "labels", split, [], [0, 1, 1], np.eye(4), np.array([0.5] * 20), None, "abab",
                    labels[:, None])
    yield from over("split_by_class", "seed", lambda s: split(labels, 0.2, s), -1, 2**64, 1.5, "0", None)
    yield fine("split_by_class of a tensor", lambda: split(torch.tensor(labels), 0.2))
    base = dict(features=features, labels=labels, train_rows=rows[:14], test_rows=rows[14:])
    doors = separability.linear_classifier, lambda **given: separability.permutation_control(**given, n=2)
    for name, door in zip(("linear_classifier", "permutation_control"), doors, strict=True):
        call = lambda door=door, **change: door(**base | change)
        for key, values in {
            "features": (features * NAN, features[:5], None, "abc", features[:, :0], [["a"]] * 20, features * 1j),
            "labels": (labels[:5], np.zeros(20, int), None, labels + 0.5, np.eye(20), labels[:, None]),
            "train_rows": ([], rows + 10, rows[:3] + 0.5, None, [99], -1, "abc"),
            "test_rows": ([], rows + 10, None, rows[:3] + 0.5),
            "weight_decay": (0, -1, NAN, "x", None, INF),
        }.items():
            yield from over(name, key, lambda v, key=key, call=call: call(**{key: v}), *values)
    control = lambda **change: separability.permutation_control(**base | change)
    yield from over("permutation_control", "n", lambda n: control(n=n), 0, 2.5, True, "200", None)
    yield from over("permutation_control", "seed", lambda s: control(n=1, seed=s), -1, 1.5, "0", None)
    yield from over("permutation_p", "scores", lambda s: separability.permutation_p(50, s), [], None, [NAN], "abc", 3)
    yield from over("permutation_p", "value", lambda v: separability.permutation_p(v, [50.0]), NAN, "x", None)
    yield from over("embed", "features", separability.embed, features, np.full((30, 3), NAN), None, "abc")
    yield from over("embed", "n_neighbors", lambda n: separability.embed(features, n_neighbors=n), 0, 1, 2.5, 99, "5",
                    None)
    yield from over("embed", "seed", lambda s: separability.embed(features, n_neighbors=5, seed=s), -1, 2**64, 1.5)
    match = lambda **change: separability.match_spread(**dict(features=features, reference=features,
                                                              rows=rows) | change)
    yield from over("match_spread", "features", lambda f: match(features=f), np.ones((20, 3)), features * NAN, None)
    yield from over("match_spread", "reference", lambda f: match(reference=f), features * NAN, None, features[:3])
    yield from over("match_spread", "rows", lambda r: match(rows=r), [], [99], None, [0.5])


def of_stability(folder: Path) -> Iterator[Bad]:
    a, b = MASKS.masks
    for measure in (stability.mask_correlation, stability.support_overlap, stability.top_overlap,
                    stability.energy_distance, stability.agreement):
        wrong = (SQUARE.masks[0], a * NAN, MASKS[0], a.numpy(), None, a.tolist())
        for mask in wrong:
            what = f"{measure.__name__}: a={shown(mask)}"
            yield bad(what, lambda mask=mask, measure=measure: measure(mask, b), "a ", " must ")
    yield from over("top_overlap", "share", lambda s: stability.top_overlap(a, b, s), 0, 2, NAN, -1, "0.1", None)
    yield from over("agreement", "share", lambda s: stability.agreement(a, b, s), 0, 2, NAN)
    yield from over("agreement", "n", lambda n: stability.agreement(a, b, n=n), 0, 2.5)
    yield from over("energy_distance", "n", lambda n: stability.energy_distance(a, b, n), 0, 2.5)
    for call in (lambda t: stability.support_overlap(a, b, t), lambda t: stability.support_share(a, t),
                 lambda t: stability.selection_frequency(MASKS.masks, t)):
        yield from over("support", "threshold", call, NAN, "0.05", None, INF)
    yield from over("support_share", "mask", stability.support_share, MASKS, a.numpy(), None, a * NAN)
    yield from over("chance_overlap", "share_a", lambda s: stability.chance_overlap(s, 0.5), 2, -1, NAN, "0.1", None)
    yield from over("chance_overlap", "share_b", lambda s: stability.chance_overlap(0.5, s), 2, NAN, None)
    yield from over("energy_bands", "n", lambda n: stability.energy_bands(MASKS.masks, n), 0, 2.5, True)
    yield from over("energy_bands", "masks", stability.energy_bands, MASKS, a, None, MASKS.masks[:0], MASKS.masks * NAN)
    objective = torch.tensor([1.2, 1.3])
    yield from over("nearly_as_good", "objective", stability.nearly_as_good, objective[:0], objective * NAN, [1.2],
                    None)
    yield from over("nearly_as_good", "factor", lambda f: stability.nearly_as_good(objective, f), NAN, 0.5, "1", None)
    yield from over("selection_frequency", "masks", stability.selection_frequency, MASKS, None, MASKS.masks[:0])
    yield from over("starts_row", "objective", lambda o: stability.starts_row(MASKS.masks, o), objective[:1],
                    objective * NAN, None)
    yield from over("starts_row", "masks", lambda m: stability.starts_row(m, objective), MASKS, None, MASKS.masks[:0])
    yield from over("agreement_table", "groups", stability.agreement_table, {},
                    {"natural": {"starts": MASKS.masks[:1]}}, None,
                    {"natural": MASKS.masks}, {"natural": {"starts": MASKS}}, [MASKS.masks])


# the methods that the paper names beside its own

def of_band_attacks(folder: Path) -> Iterator[Bad]:
    images, model = in_unit(IMAGES), small_network()
    wrong = (images.numpy() * 255, images - 0.5, images + 0.2, images[:, 0], images * NAN, None, "photos", MASKS)
    for basis in ("cosine", "fourier"):
        make = lambda n, basis=basis: band_attacks.band_masks(SIZE, n, basis)
        yield from over("band_masks", "n", make, 0, 4, 2.5, True, None, "3", NAN)
    yield from over("band_masks", "size", lambda s: band_attacks.band_masks(s, 1), 8, (8.0, 8), (0, 8), None, (8,))
    yield from over("band_masks", "basis", lambda b: band_attacks.band_masks(SIZE, 2, b), "wavelet", None,
                    Cosine(SIZE), "dct")
    yield from over("band_masks", "seed", lambda s: band_attacks.band_masks(SIZE, 2, seed=s), -1, 1.5, None)
    usual = dict(model=model, images=images, labels=LABELS, mask=MASKS[:1], steps=1)
    attack = lambda **change: band_attacks.band_attack(**usual | change)
    phase = random_set(1, size=SIZE, part=Phase(RealFourier(SIZE)), basis=RealFourier(SIZE))
    for name, values in {
        "images": wrong, "labels": (LABELS[:3], LABELS + 1, LABELS - 1, LABELS.double(), "gievn", None, [0, 1]),
        "mask": (MASKS, SQUARE, None, "low", PLANE.numpy(), PLANE * NAN, PLANE * 2, PLANE[None], PLANE.bool(), phase,
                 torch.ones(3, 1, *SIZE), torch.ones(1, 3, *SIZE)),
        "eps_255": (-1, 300, NAN, "8/255"), "alpha_255": (-1, INF, None), "steps": (0, 2.5, None),
        "seed": (-1, 2**64, None), "batch_size": (0, 2.5, None), "random_start": (1, "yes", None),
        "precision": ("fp16", None), "model": ("resnet18", None, lambda x: None, lambda x: x.detach()),
        "output_fn": ("logits", lambda out: out.logits), "epsilon": (8,),
    }.items():
        yield from over("band_attack", name, lambda v, name=name: attack(**{"basis": "fourier", name: v}), *values)
    yield from over("band_attack", "basis", lambda b: attack(mask=PLANE, basis=b), None, "dct", Cosine((8, 8)), Cosine)
    yield bad("band_attack: cosines taken for Fourier's", lambda: attack(mask=PLANE, basis="fourier"), "mask must",
              "point-symmetric")
    for change in (dict(), dict(mask=PLANE, basis="cosine"), dict(mask=spectrum.symmetrize(PLANE), basis="fourier"),
                   dict(labels="predicted"), dict(images=images.numpy()), dict(mask=PLANE, basis=Cosine(SIZE)),
                   dict(mask=random_set(len(images), size=SIZE)), dict(steps=np.int64(2))):
        yield fine(f"band_attack: {shown(change)}", lambda change=change: attack(**change))
    success = lambda masks: band_attacks.band_success(model, images, "predicted", masks, basis="cosine", steps=1)
    yield from over("band_success", "masks", success, {}, None, MASKS, PLANE, [PLANE], "low")
    yield from over("band_success", "mask", success, {"a": None}, {"a": PLANE * 2}, {"a": SQUARE[:1]})
    yield from over("plot_band_success", "tables", band_attacks.plot_band_success, None, {}, pd.DataFrame(),
                    {"a": pd.DataFrame({"n": [1]})}, {"a": None})
    yield from over("perturbations", "images", lambda x: band_attacks.perturbations(model, x, LABELS), *wrong)
    add = lambda **change: band_attacks.perturbations(**dict(model=model, images=images, labels=LABELS) | change)
    for name, values in {
        "attack": ("fgsm", None, 3, "AutoAttack"), "eps": ("8/255", NAN, None, -1), "epsilon": (0.1,),
        "steps": (0, 2.5), "seed": (-1, None), "batch_size": (0, None), "labels": (LABELS + 1, "gievn"),
        "model": ("resnet18", None),
    }.items(): yield from over("perturbations", name, lambda v, name=name: add(**{name: v}), *values)
    for call in (band_attacks.half_power_radius, band_attacks.radial_power, band_attacks.power_of):
        yield from over(call.__name__, "added", call, images.numpy(), images[:, 0], None, images * NAN, images[:0],
                        MASKS)
    yield bad("radial_power of no change", lambda: band_attacks.radial_power(0 * images), "added")
    yield from over("radial_power", "n", lambda n: band_attacks.radial_power(images, n), 0, 2.5, None)
    for call in (band_attacks.half_power_table, band_attacks.plot_perturbation_spectra):
        yield from over(call.__name__, "by_attack", call, {}, images, None, {"a": images[:, 0]}, {"a": images * NAN},
                        {"a": images, "b": images[..., 1:]}, {"a": None})
    alike = lambda **change: band_attacks.spectrum_similarity(**dict(a=images, b=images) | change)
    for name in "ab":
        for value in (images[:3], images[..., 1:], None, images * NAN, 0 * images):
            call = lambda name=name, value=value: alike(**{name: value})
            yield bad(f"spectrum_similarity: {name}={shown(value)}", call, "a and b")
    yield from over("spectrum_similarity", "repeats", lambda n: alike(repeats=n), 0, 2.5, None)
    yield from over("spectrum_similarity", "seed", lambda s: alike(seed=s), -1, None)


# pictures

def of_pictures(folder: Path) -> Iterator[Bad]:
    plane = MASKS.masks[0, 0]
    fig, axes = pictures.canvas(1, 1)
    yield from over("canvas", "rows", lambda n: pictures.canvas(n, 1), 0, 2.5, None)
    yield from over("canvas", "columns", lambda n: pictures.canvas(1, n), 0, 2.5)
    wrong = (MASKS, MASKS.masks, None, plane * NAN, [[1, 2], [3]], "abc")
    yield from over("show_plane", "plane", lambda p: pictures.show_plane(axes[0, 0], p), *wrong)
    yield from over("show_image", "image", lambda x: pictures.show_image(axes[0, 0], x), MASKS, MASKS.masks, None,
                    plane)
    yield fine("show_plane of an array", lambda: pictures.show_plane(axes[0, 0], plane.numpy()))
    yield from over("plot_masks", "masks", pictures.plot_masks, {}, None, {"a": MASKS}, {"a": MASKS.masks}, [MASKS], [],
                    3, {"a": plane, "b": SQUARE.masks[0, 0]}, {"a": plane * NAN}, {"a": None}, MASKS[[]], "a.zarr",
                    random_set(2, size=(8,)), random_set(2, size=(4, 4, 4)), torch.ones(40, 6, 5), torch.ones(6))
    for value in (MASKS, MASKS.masks, MASKS.masks[0], plane, [plane], {"a": MASKS.masks[0]}, plane.numpy()):
        yield fine(f"plot_masks: {shown(value)}", lambda value=value: pictures.plot_masks(value))
    pair = {"a": plane, "b": plane}
    yield from over("plot_masks", "limit", lambda v: pictures.plot_masks(pair, v), NAN, -1, "0.1", 0)
    yield from over("plot_class_masks", "rows", pictures.plot_class_masks, {}, MASKS, None, {"a": plane},
                    {"a": (plane, MASKS)})
    x = IMAGES[:2].float()
    for place, name in enumerate(("images", "by_complement", "by_mask")):
        given = [x, x, x]
        for value in (x[:1], x[:, 0], MASKS, None, x[:0]):
            given[place] = value
            yield bad(f"plot_filtered: {name}={shown(value)}",
                      lambda given=tuple(given): pictures.plot_filtered(*given), name)
    columns = dict(masks=MASKS.masks, x_masked=x, attacked_masked=x, complements=MASKS.masks, x_complement=x)
    for name in columns:
        yield from over("plot_mask_columns", name, lambda v, name=name: pictures.plot_mask_columns(
            x, x, **columns | {name: v}), x[:1], MASKS, None)
    layer = dict(x=plane, spectrum=plane, mask=plane, masked=plane, x_masked=plane, probabilities={"a": (0.5, 0.5)})
    for name in list(layer)[:5]:
        yield from over("plot_layer", name, lambda v, name=name: pictures.plot_layer(**layer | {name: v}), plane * NAN,
                        MASKS.masks, None)
    yield from over("plot_layer", "probabilities", lambda p: pictures.plot_layer(**layer | {"probabilities": p}), {},
                    None,
                    {"a": 0.5}, [0.5])
    functions = dict(functions={"a": MASKS.masks[:, 0]}, values={"a": torch.ones(2)},
                     profiles={"a": {"x": torch.ones(4)}},
                     centers_cyc=torch.ones(4))
    for name in functions:
        yield from over("plot_functions", name, lambda v, name=name: pictures.plot_functions(**functions | {name: v}),
                        {}, None)


def of_mask_pictures(folder: Path) -> Iterator[Bad]:
    own, model = random_set(len(IMAGES), size=SIZE), small_network()
    draw = lambda **change: mask_pictures.plot_mask_set(**dict(masks=own, images=IMAGES, model=model) | change)
    over_one = lambda name, *values: over("plot_mask_set", name, lambda value: draw(**{name: value}), *values)
    yield from over_one("masks", own.masks, own.masks[0, 0], None, [own], {"a": own}, "a.zr", own[[]], own[:3], SQUARE)
    yield from over_one("images", *(x for x in WRONG_IMAGES if getattr(x, "shape", ())[1:] != (3, *SIZE)), IMAGES[:3],
                        None, "nowhere", MASKS)
    yield from over_one("model", "resnet18", model.state_dict(), small_network((8, 8)), lambda x: x, lambda x: x[:3],
                        lambda x: None, lambda x: {"logits": model(x)}, lambda x: model(x) * NAN)
    yield from over_one("names", "abc", {0: "a", 1: "b", 2: "c"}, {"a", "b", "c"}, ["a"], list("abcd"), 3)
    yield from over_one("output_fn", "logits", 0, lambda out: out.logits)
    yield from over_one("most", 0, -1, 2.5, None, True, "3")
    yield from over_one("basis", "fourier", RealFourier((8, 8)), RealFourier)
    yield from over_one("part", "phase", Phase)
    known = replace(own, predictions=LABELS)
    yield bad("plot_mask_set: too few names for a set", lambda: draw(masks=known, model=None, names=["a"]), "names")
    for change in (dict(model=None), dict(masks=own[:1]), dict(images=IMAGES.half(), model=None), dict(part=Filter()),
                   dict(names=np.array(["a", "b", "c"])), dict(names=("a", "b", "c")), dict(most=np.int64(2)),
                   dict(images=DataLoader(TensorDataset(IMAGES))), dict(images=None, masks=replace(own, images=IMAGES)),
                   dict(masks=own[:1], images=IMAGES.expand(-1, 3, -1, -1), model=None), dict(masks=known, model=None)):
        yield fine(f"plot_mask_set: {shown(change)}", lambda change=change: draw(**change))


def of_sensitivity(folder: Path) -> Iterator[Bad]:
    model, images = small_network(), in_unit(IMAGES)
    usual = dict(model=model, images=images, labels=LABELS, progress=False, grid=3)
    ask = lambda **change: sensitivity.sensitivity_map(**usual | change)
    over_one = lambda name, *values: over("sensitivity_map", name, lambda value: ask(**{name: value}), *values)
    yield from over_one("images", *WRONG_IMAGES, images - 0.5, 255 * images)
    yield from over_one("labels", *WRONG_LABELS)
    for what, wrong in WRONG_MODELS.items():
        row = fine if what in IN_PIXELS else bad
        yield row(f"sensitivity_map: model {what}", lambda wrong=wrong: ask(model=wrong), *["model"] * (row is bad))
    yield from over_one("wave", "square", None, sensitivity.UnitWave, 0.1)
    yield from over_one("grid", 0, 2, 7, 2.5, "3", True)
    yield from over_one("seed", -1, 0.5, None, True)
    yield from over_one("batch_size", 0, -1, 2.5, None, True)
    yield from over_one("precision", "float16", None)
    (folder / "text.safetensors").write_text("no rows")
    yield from over_one("path", folder, folder / "text.safetensors", "", 3)
    yield bad("sensitivity_map: path of another map", lambda: [ask(path=folder / "a", seed=seed) for seed in (0, 1)],
              "path", "seed")
    for wave in (sensitivity.UnitWave, sensitivity.SignWave):
        for value in (-1, NAN, INF, "1", None, True):
            yield bad(f"{wave.__name__}({value!r})", lambda wave=wave, value=value: wave(value),
                      "rms" if wave is sensitivity.UnitWave else "eps_255")
    yield from over("plot_sensitivity", "maps", sensitivity.plot_sensitivity, {}, None, {"a": images}, [ask()], ask())
    for change in (dict(labels="predicted"), dict(wave=sensitivity.SignWave(0)), dict(images=images.half()),
                   dict(path=folder / "kept"), dict(grid=1), dict(batch_size=np.int64(5))):
        yield fine(f"sensitivity_map: {shown(change)}", lambda change=change: ask(**change))


def of_tables(folder: Path) -> Iterator[Bad]:
    planes = MASKS.masks
    table = band_energies.band_table({"a": planes[0], "b": planes[1]}, "a", 8)
    draw = lambda **change: curves.plot_band_energies(**dict(table=table, size=SIZE, reference="a") | change)
    wrong = (None, pd.DataFrame(), pd.DataFrame({"x": [1]}), {"a": 1}, [1, 2])
    yield from over("plot_band_energies", "table", lambda t: draw(table=t), *wrong)
    yield from over("plot_band_energies", "reference", lambda r: draw(reference=r), "c", "b", None)
    yield from over("plot_band_energies", "size", lambda s: draw(size=s), 8, (8.0, 8))
    yield from over("plot_band_energies", "column", lambda c: draw(column=c), "differences", None, "mask")
    for plot in (curves.plot_exceed, charts.plot_accuracies, charts.plot_shares, charts.plot_schedules,
                 charts.plot_agreement):
        yield from over(plot.__name__, "table", plot, *wrong)
    yield from over("plot_bases", "table", lambda t: charts.plot_bases(t, {}), *wrong)
    yield from over("plot_permutations", "controls", lambda t: charts.plot_permutations(t, {"a": 50.0}), *wrong)
    controls = pd.DataFrame({"test_acc_pct": [20.0, 30.0]})
    yield from over("plot_permutations", "acc_pct", lambda a: charts.plot_permutations(controls, a), None, 50.0,
                    {"a": None},
                    {"a": NAN})
    shares = accuracy.share_table({"a": np.array([True, False])})
    other = accuracy.share_table({"b": np.array([True, False])})
    yield from over("plot_shares", "binary", lambda b: charts.plot_shares(shares, b), other, pd.DataFrame({"x": [1]}),
                    [1])
    yield from over("plot_spectra", "spectra", curves.plot_spectra, {}, None, {"a": None}, torch.ones(3),
                    {"a": torch.ones(2, 2, 2)})
    yield from over("plot_energy_spread", "tables", curves.plot_energy_spread, {}, None, {"starts": {}},
                    {"starts": table},
                    {"starts": {"natural": pd.DataFrame()}})
    damping = dict(losses=(torch.ones(4), torch.ones(4)), k=torch.arange(4.0), curves={"measured": torch.ones(4)},
                   profiles={"predicted": torch.ones(4)}, centers_cyc=torch.ones(4))
    for name, values in {"losses": (None, torch.ones(3), (torch.ones(4),)), "curves": (None, {"a": torch.ones(5)}),
                         "profiles": (None, {"a": torch.ones(5)}), "k": (None,)}.items():
        yield from over("plot_damping", name, lambda v, name=name: curves.plot_damping(**damping | {name: v}), *values)
    points, labels = np.zeros((4, 2)), np.arange(4) % 2
    for panels in ({}, None, {"a": points}, {"a": (points, labels + 5, labels > 0)},
                   {"a": (points, labels[:2], labels > 0)}):
        yield bad(f"plot_embeddings: panels={shown(panels)}",
                  lambda panels=panels: charts.plot_embeddings(panels, ["x", "y"]), "panels")


UNIT = ((IMAGES - IMAGES.min()) / (IMAGES.max() - IMAGES.min())).float()


def of_pass_filters(folder: Path) -> Iterator[Bad]:
    model, mask = small_network(), pass_filters.pass_mask
    yield from over("pass_mask", "size", lambda s: mask(s, 0.2), 8, (8.0, 8), (0, 8), None)
    yield from over("pass_mask", "cut_cyc", lambda c: mask(SIZE, c), -0.1, NAN, INF, "0.2", None, True)
    yield from over("pass_mask", "kind", lambda k: mask(SIZE, 0.2, k), "band", "Low", None, 1, ["low"])
    yield from over("equal_share_rings", "n must", lambda n: pass_filters.equal_share_rings(UNIT, n), 0, 2.0, True, "8",
                    None, 30)
    yield from over("equal_share_rings", "images", pass_filters.equal_share_rings, *WRONG_IMAGES[:12], UNIT * 255,
                    torch.full_like(UNIT, 0.5))
    for name, usual in dict(pass_curves={}, ring_removal={"n": 2}, hybrid_curve={},
                            blurred_accuracy={"attacked": UNIT}).items():
        yield from of_a_pass_filter(name, dict(model=model, images=UNIT, labels=LABELS) | usual)
    curves_of = lambda **change: pass_filters.pass_curves(model, UNIT, LABELS, **change)
    yield from over("pass_curves", "where", lambda w: curves_of(where=w), "centred", "pixel", None, 0)
    yield from over("ring_removal", "n must", lambda n: pass_filters.ring_removal(model, UNIT, n=n), 0, 2.5, True, 40)
    yield from over("hybrid_curve", "seed", lambda s: pass_filters.hybrid_curve(model, UNIT, seed=s), -1, 1.5, None)
    one = LABELS * 0
    yield bad("hybrids of one class", lambda: pass_filters.hybrid_curve(model, UNIT, one), "labels", "two classes")
    blurred = lambda attacked: pass_filters.blurred_accuracy(model, UNIT, LABELS, attacked)
    yield from over("blurred_accuracy", "attacked", blurred, None, UNIT[:3], UNIT * 255, UNIT * NAN, "fgsm",
                    UNIT.numpy())
    table, wrong = curves_of(), (None, pd.DataFrame(), pd.DataFrame({"x": [1]}), {"a": 1}, [1, 2])
    yield from over("with_intervals", "table", pass_filters.with_intervals, *wrong, pd.DataFrame({"n": [1]}))
    yield from over("reversal_cyc", "table", pass_filters.reversal_cyc, *wrong, table)
    for plot in (pass_filters.plot_over_cuts, pass_filters.plot_ring_removal):
        yield from over(plot.__name__, "tables", plot, *wrong[:2], table, {}, {"a": None}, {"a": wrong[2]})
    yield fine("pass_curves of numpy's cuts", lambda: curves_of(cuts_cyc=np.array([0.1, 0.2], np.float32)))


def of_a_pass_filter(name: str, usual: dict) -> Iterator[Bad]:
    "What all front doors of pass filters are asked."
    call = lambda **change: getattr(pass_filters, name)(**usual | change)
    over_one = lambda key, *values: over(name, key, lambda value: call(**{key: value}), *values)
    shapes = [x for x in WRONG_IMAGES if getattr(x, "shape", ())[1:] != SIZE]  # without channels they are signals
    yield from over_one("images", *shapes, UNIT * 255, UNIT * 4 - 2)
    yield from over_one("labels", *WRONG_LABELS)
    yield from over_one("batch_size", 0, 2.0, True, None, "all")
    yield from over_one("precision", "half", None, 32)
    yield from over_one("output_fn", "logits", 0, lambda out: out.logits)
    if name != "ring_removal":
        yield from over_one("cuts_cyc", [], None, 0.2, "0.2", [0.2, 0.1], [NAN], [-0.1], [None], [True])
    for what, wrong in WRONG_MODELS.items():
        row = fine if what in IN_PIXELS else bad
        yield row(f"{name}: model {what}", lambda wrong=wrong: call(model=wrong), *["model"] * (row is bad))
    yield bad(f"{name}: an unknown argument", lambda: call(batchsize=3), "batchsize")
    yield fine(f"{name} of numpy's images", lambda: call(images=UNIT.numpy(), labels=LABELS.numpy()))
    yield fine(f"{name} of half precision", lambda: call(images=UNIT.half()))
    if name != "hybrid_curve":  # this network says one class of all
        yield fine(f"{name} of the network's own answers", lambda: call(labels="predicted"))


def of_activations(folder: Path) -> Iterator[Bad]:
    model = small_network()
    call = lambda **change: activations.layer_centroids(**dict(model=model, images=UNIT) | change)
    over_one = lambda name, *values: over("layer_centroids", name, lambda value: call(**{name: value}), *values)
    shapes = [x for x in WRONG_IMAGES if getattr(x, "shape", ())[1:] != SIZE]  # without channels they are signals
    yield from over_one("images", *shapes, UNIT * 255, UNIT * 0)
    yield from over_one("model", None, "resnet18", model.state_dict(), lambda x: model(x), nn.Linear,
                        small_network((8, 8)), nn.Sequential(nn.Flatten(), nn.Linear(30, 3)), nn.Conv2d(3, 4, 3))
    yield from over_one("layers", "0", ["O"], [0], 0, ["3"], [model], ["2"], [None])
    yield from over_one("zero", 1, None, "yes")
    yield from over_one("batch_size", 0, 2.0, True, None, "all")
    centroid = activations.spectral_centroid
    yield from over("spectral_centroid", "planes", centroid, UNIT[0], UNIT.numpy(), UNIT * NAN, None)
    yield from over("spectral_centroid", "size", lambda s: centroid(UNIT, s), 8, (8.0, 8), (0, 8))
    table = call()
    yield from over("plot_layer_centroids", "tables", activations.plot_layer_centroids, None, {}, table, {"a": None},
                    {"a": table[["n"]]})
    yield fine("layer_centroids of numpy's images", lambda: call(images=UNIT.numpy()))
    yield fine("layer_centroids of named layers", lambda: call(layers=("1", "0")))
    yield fine("layer_centroids of a network in training mode", lambda: call(model=small_network().train()))


# profiles, the store, studies and the command line

def of_profiles(folder: Path) -> Iterator[Bad]:
    load = profiles.load_profile
    yield from over("load_profile", "profile", load, "quik", "Quick", "", None, 3, ["quick"])
    for name, values in {
        "train.epochs": (None, 0, 2.5, "ten", True, {"natural": 0}, {"natrual": 3}, {"natural": None}),
        "train.attack.eps_255": (-1, NAN, "8/255", None), "train.width": (0, "half"), "train.precision": ("fp16",),
        "mask.p": (0.5, None), "mask.weight": (-1, NAN, INF, "x", True, [0.1]), "mask.steps": (True, "3", 0),
        "image.n": (0, 2.5, None), "image.shard_size": (0, None), "image.batch_size": (0, 1.5),
        "data.name": ("fashion", None), "data.n_train": (0, 1.5, "all"), "data.size": (0, None), "need_mb": (-1, NAN),
        "mask.seed": (-1, 2**63, "x"), "mask.schedule": ("slow",), "train.compile": (1,), "data.path": (3, None),
    }.items():
        yield from over("load_profile", name, lambda v, name=name: load("quick", {name: v}), *values)
    for name in ("train.epoch", "epochs", "mask", "name", "train.attack.eps", "", 3):
        yield bad(f"load_profile: unknown {name!r}", lambda name=name: load("quick", {name: 1}), "setting", repr(name))
    yield from over("load_profile", "changes", lambda c: load("quick", c), ["seed=3"], "seed=3", 3)
    yield fine("load_profile: whole numbers for others",
               lambda: load("quick", {"mask.weight": 1, "train.epochs": np.int64(2)}))
    load_data = lambda **given: profiles.load_data(profiles.DataSettings(**given))
    for key, value in {"name": "fashion", "n_train": 0, "size": 0, "path": None, "n_vla": 3}.items():
        yield bad(f"DataSettings: {key}={value!r}", lambda key=key, value=value: load_data(**{key: value}), key)
    yield bad("load_data: a folder that is not named", lambda: load_data(name="folder"), "data.path")
    yield bad("load_data: some of a folder", lambda: load_data(name="folder", path=str(folder), n_train=3),
              "data.n_train")
    yield bad("load_data: no such folder", lambda: load_data(name="folder", path="nowhere"), "path", "nowhere")
    yield bad("load_data: imagenette5 that was not made", lambda: load_data(name="imagenette5"), "imagenette5")
    yield bad("load_data: fewer images than classes", lambda: load_data(n_val=2), "n_val")
    yield from over("load_data", "settings", profiles.load_data, None, "fashion5", {"name": "fashion5"})
    for kind in (settings.MaskSettings, settings.ImageMaskSettings, settings.DatasetMaskSettings):
        for key, value in {"weight": "x", "p": 0, "steps": 0, "epochs": 3, "seed": -1,
                           "initial": torch.ones(2, 2)}.items():
            yield bad(f"{kind.__name__}: {key}={shown(value)}",
                      lambda kind=kind, key=key, value=value: kind(**{"weight": 0.1} | {key: value}), key)
    yield bad("MaskSettings without a weight", settings.MaskSettings, "weight")


def of_store(folder: Path) -> Iterator[Bad]:
    a_file = folder / "a-file"
    a_file.write_text("hello")
    yield bad("check_folder: a file", lambda: store_page.check_folder(a_file), "folder", "a-file")
    yield bad("check_folder: below a file", lambda: store_page.check_folder(a_file / "b"), "folder", "a-file")
    yield bad("check_folder: too little room", lambda: store_page.check_folder(folder, 1e15), "folder", "MB")
    yield from over("check_folder", "need_mb", lambda n: store_page.check_folder(folder, n), NAN, "20", None)
    kept = store_page.Store(folder / "store")
    for value in (NAN, torch.ones(2), {1, 2}, None):
        given = value if value is None else {"x": value}
        yield bad(f"Store.fetch: settings={shown(given)}", lambda given=given: kept.fetch("a", given, lambda part: {}),
                  "settings")
    yield from over("Store.fetch", "make", lambda m: kept.fetch("a", {"x": 1}, m), None, "make",
                    lambda part: {"x": NAN},
                    lambda part: {"x": torch.ones(2)})
    yield from over("Store.fetch", "kind", lambda k: kept.fetch(k, {"x": 1}, lambda part: {}), None, 3)
    yield bad("Store in a file", lambda: store_page.Store(a_file).fetch("a", {}, lambda part: {}), "folder")


def of_studies(folder: Path) -> Iterator[Bad]:
    make = lambda profile="smoke", **given: study.Study(profile, progress=False, **given)
    yield from over("Study", "profile", make, "quik", None, 3)
    yield from over("Study", "seed", lambda s: make(seed=s), -1, 2**63, 2**64, 1.5, True, "31", None)
    yield from over("Study", "device", lambda d: make(device=d), "gpu", "cuda:99")
    yield from over("Study", "settings", lambda s: make(settings=s), ["seed=3"], "train.width=1", 3)
    yield from over("Study", "store", lambda s: make(store=s), "runs", 3)
    yield bad("Study: unknown setting", lambda: make(settings={"train.epoch": 3}), "setting", "train.epoch")
    yield bad("Study: a setting out of range", lambda: make(settings={"mask.p": 0.5}), "mask.p", "0.5")
    yield fine("Study of numpy's seed", lambda: make(seed=np.int64(3)))
    there = make()
    for need in ("foo", "foo:natural", "network", "network:natrual", "selection:rotation", "", None, 3):
        for name in ("entry", "key"):
            yield bad(f"Study.{name}({need!r})", lambda name=name, need=need: getattr(there, name)(need), "need")
        yield bad(f"needs_of({need!r})", lambda need=need: study.needs_of(need), "need")
    for name in ("network", "network_record", "dataset_mask", "logits", "class_masks", "image_masks"):
        for regime in ("natrual", None):
            yield bad(f"Study.{name}({regime!r})", lambda name=name, regime=regime: getattr(there, name)(regime),
                      "known")
    yield bad("variant: unknown setting", lambda: there.variant({"train.epoch": 3}), "setting", "train.epoch")
    yield from over("variant", "seed", lambda s: there.variant(seed=s), -1, 1.5)
    yield bad("mask_settings of a network", lambda: there.mask_settings("network"), "kind")
    tell = lambda item, out=str(folder / "out"): record.Record(item, there, out)
    yield from over("Record", "item", tell, "fig_99", None, "")
    yield bad("Record.compare: a value that is missing", lambda: tell("fig_01").compare({}), "values")
    yield bad("load_expected: unknown item", lambda: record.load_expected("fig_99"), "fig_99")
    yield from over("write_report", "study", lambda s: record.write_report(folder / "report", s), None, "quick")


def of_reproduce(folder: Path) -> Iterator[Bad]:
    usual, idle = dict(profile="smoke", echo=quiet), mock.patch.object(reproduce_page, "run_tasks", began)
    call = lambda *given, **named: inside(idle, lambda: reproduce_page.reproduce(*given, **usual | named))
    yield from over("reproduce", "item", lambda names: call(names), ["fig_99"], ["fig_3"], ["Figure 3"], [None])
    yield from over("reproduce", "names", call, "fig_01", 3)
    yield from over("reproduce", "profile", lambda p: call(["fig_01"], profile=p), "quik", None)
    yield from over("reproduce", "jobs", lambda n: call(["fig_01"], jobs=n), 0, -1, 2.5, "2", True)
    yield from over("reproduce", "workers", lambda n: call(["fig_01"], workers=n), 0, 2.5, "2")
    yield from over("reproduce", "device", lambda d: call(["fig_01"], device=d), "gpu", "cuda:99", 3)
    for change in ({"sede": 3}, {"seed": 1.5}, {"seed": True}, {"seed": -1}, {"clip": NAN}, {"step": 0.0},
                   {"clip": "x"},
                   {"train.epochs": None}, {"mask.p": 0.5}, {"profile": "paper"}, {"out": "x"}):
        name = next(iter(change))
        yield bad(f"reproduce: {change}", lambda change=change: call(["fig_01"], changes=change), name)
    yield from over("reproduce", "changes", lambda c: call(["fig_01"], changes=c), ["seed=3"], "seed=3")
    yield bad("reproduce: jobs and workers", lambda: call(["fig_01"], jobs=1, workers=1), "jobs", "workers")
    yield from over("connect", "workers", lambda n: inside(cluster.connect(workers=n)), 0, -1, 2.5, "2", True)
    for address in ("nonsense", "tcp://127.0.0.1:1", "", 3):
        reach = lambda address=address: inside(cluster.connect(address, timeout_s=0.2))
        yield bad(f"connect: address={address!r}", reach, "address")
    yield from over("connect", "timeout_s", lambda t: inside(cluster.connect("tcp://127.0.0.1:1", timeout_s=t)), -1,
                    NAN, "5", None)
    yield from over("check_workers", "client", cluster.check_workers, "tcp://127.0.0.1:1", None)


def began(*given, **named):
    "In place of running anything."
    raise RuntimeError("it began to run")


def quiet(line: str) -> None:
    "In place of printing."


def of_command_line(folder: Path) -> Iterator[Bad]:
    rows = {
        "fig_99": ("item", "fig_99"), "fig_01 --profile quik": ("profile", "quik"), "fig_01 --profile": ("--profile",),
        "fig_01 --set seed": ("--set", "seed"), "fig_01 --set =3": ("--set", "=3"), "fig_01 --set": ("--set",),
        "fig_01 --set sede=3": ("sede",), "fig_01 --set seed=three": ("seed", "three"), "fig_01 --set seed=": ("seed",),
        "fig_01 --set seed=-1": ("seed", "-1"), "fig_01 --set seed=1.5": ("seed", "1.5"),
        "fig_01 --set seed=18446744073709551616": ("seed",), "fig_01 --set clip=NaN": ("clip",),
        "fig_01 --set clip=1e999": ("clip",), "fig_01 --set train.epochs=null": ("train.epochs",),
        "fig_01 --set train.epochs=[1]": ("train.epochs",), "fig_01 --set train.epoch=3": ("train.epoch",),
        "fig_01 --set train.attack=3": ("train.attack",), "fig_01 --set mask.weight=-1": ("mask.weight",),
        "fig_01 --set image.n=0": ("image.n",), "fig_01 --set data.name=imagenet": ("data.name", "imagenet"),
        "fig_03 --set data.n_val=2": ("n_val",), "fig_01 --set out=here": ("out",),
        "fig_01 --jobs 0": ("jobs", "0"), "fig_01 --jobs -2": ("jobs",), "fig_01 --jobs two": ("jobs",),
        "fig_01 --jobs 1.5": ("jobs",), "fig_01 --workers 0": ("workers",),
        "fig_01 --jobs 2 --workers 2": ("jobs", "workers"),
        "fig_01 --device gpu": ("device", "gpu"), "fig_01 --device cuda:99": ("device", "cuda:99"),
        "fig_01 --frobnicate": ("--frobnicate",), "fig_01 --profil smoke": ("--profil",),
        "fig_03 --profile paper": ("imagenette5",), "fig_01 fig_1": ("item", "fig_1"),
    }
    for words, names in rows.items():
        given = words.split()
        yield bad(f"reproduce {words}", lambda given=given: command("reproduce", *given), *names)
    yield bad("reproduc", lambda: command("reproduc"), "reproduc")
    yield bad("report --profile quik", lambda: command("report", "--profile", "quik"), "profile", "quik")
    yield bad("data imagenet", lambda: command("data", "imagenet", str(folder)), "data", "imagenet")
    yield bad("data without a path", lambda: command("data", "imagenette5"), "path")
    yield bad("data of a folder that is not there", lambda: command("data", "imagenette5", "nowhere"), "path",
              "nowhere")
    yield bad("data of another folder", lambda: command("data", "imagenette5", str(folder)), "path")
    place = "imagenette5", str(folder)
    yield bad("data --size 0", lambda: command("data", *place, "--size", "0"), "size", "0")
    yield bad("data --size large", lambda: command("data", *place, "--size", "large"), "size")
    yield bad("data --download 64px", lambda: command("data", *place, "--download", "64px"), "download", "64px")
    yield from of_own_networks(folder)


def of_own_networks(folder: Path) -> Iterator[Bad]:
    "Commands that take a network, images or masks of the user's."
    (folder / "photos").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "photos" / "1.png")
    out = str(folder / "masks.zarr")
    usual = {"--model": "torchvision:resnet18", "--data": str(folder / "photos"), "--out": out}
    rows: dict[str, tuple[str, ...]] = {
        "--model resnet18": ("model", "resnet18"), "--model timm:resnet81": ("model", "resnet81", "resnet18"),
        "--model torchvision:resnet81": ("model", "resnet18"), "--model nowhere:build": ("model", "nowhere"),
        "--model timm:": ("model", "timm:"), "--model :build": ("model", ":build"), "--classes five": ("classes",),
        "--checkpoint nowhere.safetensors": ("checkpoint",), "--classes 5": ("classes",),
        "--per imgae": ("per", "image"), "--threads 0": ("threads",), "--threads two": ("threads",), "--out": ("out",),
        "--frobnicate": ("--frobnicate",),
    }
    for words, names in rows.items():
        name, *value = words.split()
        given = [word for key, there in usual.items() if key != name for word in (key, there)]
        yield bad(f"learn {words}", lambda given=given, words=words: command("learn", *given, *words.split()), *names)
    for name in usual:
        given = [word for key, there in usual.items() if key != name for word in (key, there)]
        yield bad(f"learn without {name}", lambda given=given: command("learn", *given), name)
    for words in (["show", out], ["compare", out, out]):
        yield bad(f"{words[0]} of a folder that is not there", lambda words=words: command(*words), "masks.zarr")
    yield bad("show nothing", lambda: command("show"), "argument")
    yield bad("compare with nothing", lambda: command("compare", out), "argument")
    yield bad("show --n 0", lambda: command("show", out, "--n", "0"), "n must", "0")
    yield bad("compare --fail-over -1", lambda: command("compare", out, out, "--fail-over", "-1"), "fail-over", "-1")
    yield bad("doctor --frobnicate", lambda: command("doctor", "--frobnicate"), "--frobnicate")
    yield fine("doctor of a machine", lambda: command("doctor", "--json"))


def command(*words: str) -> None:
    "What `fourier-mask` says before it ends with 2, as an error."
    err, arguments = io.StringIO(), mock.patch.object(sys, "argv", ["fourier-mask", *words])
    idle = mock.patch.object(reproduce_page, "run_tasks", began)
    with arguments, idle, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try: cli.main()
        except SystemExit as stop:
            if stop.code == 2: raise ValueError(err.getvalue().strip()) from None
            if stop.code: raise RuntimeError(f"exit status {stop.code}: {err.getvalue()}") from None


GROUPS: tuple[Callable[[Path], Iterator[Bad]], ...] = (
    of_spectrum, of_bases, of_forms, of_parts, of_mask, of_device, of_models, of_images, of_goals,
    of_image_masks, of_dataset_masks, of_path, of_folders_of_masks, of_mask_sets, of_minimal, of_learned_basis,
    of_data, of_imagenette, of_crops, of_train,
    of_energies, of_accuracy, of_translations, of_separability, of_stability, of_pictures, of_mask_pictures, of_tables,
    of_sensitivity, of_pass_filters, of_band_attacks, of_activations,
    of_directions, of_texture, of_symmetries,
    of_profiles, of_store, of_studies, of_reproduce, of_command_line,
)


def tried(groups=GROUPS) -> Iterator[Outcome]:
    "What comes of every row, in a store and a folder of its own."
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        places = dict(FOURIER_MASK_RUNS=str(root / "runs"), FOURIER_MASK_FIGURES=str(root / "figures"),
                      FOURIER_MASK_DEVICE="cpu")
        for group in groups:
            folder = root / group.__name__
            folder.mkdir()
            with mock.patch.dict(os.environ, places), quietly(): rows = list(group(folder))
            for row in rows:
                with mock.patch.dict(os.environ, places), quietly():
                    outcome = outcome_of(row.fault, row.call, *row.names, legitimate=row.legitimate)
                yield outcome


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    "Without warnings, which are not what is asked here."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
