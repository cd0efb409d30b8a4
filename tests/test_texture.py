"Cue conflicts: swapped phases, shuffled patches, drawn figures, against networks that read one of the cues."
import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from planes import wilson
from torch import nn
from torch.testing import assert_close

from fourier_mask.data import planted
from fourier_mask.texture import (
    CueChoice,
    entry_level,
    outline,
    patch_accuracy,
    patch_sizes,
    patches_shuffled,
    phase_choice,
    plot_choices,
    plot_patches,
    shape_bias,
    shape_texture_grid,
    swapped,
)

SIZES = [(8, 8), (9, 6), (5, 7), (1, 4)]


def noise(*shape, seed=0): return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_phases_of_one_and_amplitudes_of_the_other(size, channels):
    images, others = noise(3, channels, *size), noise(3, channels, *size, seed=1)
    mixed, X, Y = (torch.fft.fft2(each) for each in (swapped(images, others), images, others))
    assert_close(mixed.abs(), Y.abs())
    assert_close(mixed / mixed.abs(), X / X.abs())
    assert_close(swapped(images, images), images)
    moved = swapped(others.roll(1, -1), others)  # amplitudes do not see a shift
    assert_close(moved, others.roll(1, -1))


def test_what_is_zero_has_no_phase_and_keeps_its_amplitude():
    flat = torch.full((1, 1, 6, 5), 0.5)
    other = noise(1, 1, 6, 5).float()
    mixed = torch.fft.fft2(swapped(flat, other))
    assert_close(mixed, torch.fft.fft2(other).abs() + 0j, rtol=0, atol=1e-5)  # float32, of thirty pixels


class Wave(nn.Module):
    "Reads one frequency of each class: its amplitude, or its sign."

    def __init__(self, waves, phase=False):
        super().__init__()
        self.waves, self.phase, self.gain = waves, phase, nn.Parameter(torch.ones(()))

    def forward(self, x):
        X = torch.fft.fft2(x).mean(1)
        if not self.phase: return self.gain * torch.stack([X[:, v, u].abs() for v, u in self.waves], 1)
        real = self.gain * X[:, self.waves[0][0], self.waves[0][1]].real
        return torch.stack([-real, real], 1)


@pytest.mark.parametrize(("size", "channels"), [((16, 12), 1), ((15, 11), 3)])
def test_readers_of_amplitude_and_of_phase_are_told_apart(size, channels):
    waves = ((0, 2), (3, 0))
    data = planted(waves, size, n_train=2, n_val=40, noise=0.05).val
    choice = phase_choice(Wave(waves), data.images.repeat(1, channels, 1, 1), data.labels)
    assert (choice.first, choice.second, choice.names) == (0, 40, ("phase", "amplitude"))
    y, x = (torch.arange(side) * 2 * math.pi / side for side in size)
    signs = torch.arange(40) % 2
    images = 0.5 + 0.1 * (2.0 * signs - 1)[:, None, None, None] * torch.cos(3 * y[:, None] + 0 * x)
    choice = phase_choice(Wave(((3, 0),), phase=True), images.repeat(1, channels, 1, 1))  # its own answers
    assert (choice.first, choice.second) == (40, 0)


def test_nothing_of_the_model_or_of_global_numbers_is_changed():
    data = planted(((0, 2), (3, 0)), (8, 8), n_train=2, n_val=20).val
    model = nn.Sequential(nn.Dropout(0.9), Wave(((0, 2), (3, 0)))).train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = phase_choice(model, data.images, seed=1), patch_accuracy(model, data.images, seed=1)
    again = phase_choice(model, data.images, seed=1, batch_size=3), patch_accuracy(model, data.images, seed=1)
    assert first[0] == again[0] and first[1].equals(again[1])
    assert torch.equal(before, torch.get_rng_state()) and model.training and model[0].training
    assert model[1].gain.requires_grad and model[1].gain.grad is None
    shape_texture_grid(3)
    patches_shuffled(data.images, 4)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("size", "patch"), [((8, 8), 4), ((6, 9), 3), ((4, 6), 2), ((5, 7), 1), ((6, 6), 6)])
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_are_moved_whole(size, patch, channels):
    "Each patch of the image is there once more, at a place that the grid allows, in all channels the same."
    images = noise(4, channels, *size)
    mixed = patches_shuffled(images, patch, seed=2)

    def cut(x): return F.unfold(x, patch, stride=patch).mT  # b, places, c·P·P: torch's own

    for old, new in zip(cut(images), cut(mixed), strict=True):
        assert (new[:, None] == old[None]).all(-1).sum(0).eq(1).all()
    assert torch.equal(patches_shuffled(images, patch, seed=2), mixed)
    if patch < max(size) / 2:
        assert not torch.equal(mixed, images)
        assert not torch.equal(patches_shuffled(images, patch, seed=3), mixed)
    orders = [(new[:, None] == old[None]).all(-1).long().argmax(1) for old, new in
              zip(cut(images), cut(mixed), strict=True)]
    assert patch == size[0] == size[1] or any(not torch.equal(order, orders[0]) for order in orders)


@pytest.mark.parametrize(("size", "wanted"), [((8, 12), [4, 2, 1]), ((7, 5), [1]), ((9, 9), [9, 3, 1])])
def test_sizes_of_patches_are_common_divisors(size, wanted): assert patch_sizes(size) == wanted


class Bright(nn.Module):
    def forward(self, x):
        more = x.mean((1, 2, 3)) - 0.5
        return torch.stack([-more, more], 1)


def test_what_does_not_see_arrangement_keeps_its_answers_and_what_does_loses_them():
    labels = torch.arange(100) % 2
    step = (2.0 * labels - 1)[:, None, None, None]
    bright = 0.5 + 0.1 * step + 0.01 * noise(100, 1, 8, 8).float()
    table = patch_accuracy(Bright(), bright, labels, patches=[8, 2, 1])
    assert table.index.tolist() == [8, 2, 1] and (table.accuracy == 1).all() and (table.n == 100).all()
    low, high = wilson(100, 100)
    assert (table.low - low / 100).abs().max() < 1e-9 and (table.high - high / 100).abs().max() < 1e-9
    half = torch.where(torch.arange(8) < 4, 1.0, -1.0)
    sides = 0.5 + 0.1 * step * half + 0.01 * noise(100, 1, 8, 8).float()

    class Sides(nn.Module):
        def forward(self, x): return Bright()(0.5 + (x - 0.5) * half)

    accuracy = patch_accuracy(Sides(), sides, labels).accuracy
    assert accuracy[8] == 1 and (accuracy.drop(8) < 0.7).all()  # chance, four deviations of 0.05


def test_the_bias_by_hand_and_its_interval():
    said = torch.tensor([0] * 30 + [1] * 10 + [2] * 5)
    choice = shape_bias(said, torch.zeros(45).long(), torch.ones(45).long())
    assert (choice.first, choice.second, choice.neither, len(choice), choice.bias) == (30, 10, 5, 45, 0.75)
    assert_close(torch.tensor(choice.interval), torch.tensor(wilson(30, 40)) / 100)
    empty = CueChoice(0, 0, 3)
    assert math.isnan(empty.bias) and all(map(math.isnan, empty.interval)) and "neither 3" in repr(empty)


def test_an_interval_is_nan_without_scipy(monkeypatch):
    monkeypatch.setattr("fourier_mask.accuracy.find_spec", lambda name: None)
    assert all(map(math.isnan, CueChoice(3, 1, 0).interval)) and CueChoice(3, 1, 0).bias == 0.75


def test_classes_above_are_means_of_their_children():
    logits = noise(5, 6)
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    above = entry_level(logits, {"a": [0, 1, 5], "b": [2]})
    assert_close(above, torch.stack([p[:, [0, 1, 5]].sum(1) / 3, p[:, 2]], 1))


@pytest.mark.parametrize(("size", "channels"), [((32, 32), 1), ((48, 33), 3), ((16, 40), 1)])
@pytest.mark.parametrize("split", ["agree", "conflict"])
def test_drawn_images_have_the_cues_that_they_say(size, channels, split):
    cues = shape_texture_grid(36, size, split=split, channels=channels)
    assert cues.images.shape == (36, channels, *size) and 0 <= cues.images.min() and cues.images.max() <= 1
    assert ((cues.shapes == cues.textures) == (split == "agree")).all()
    pairs = torch.stack([cues.shapes, cues.textures], 1).unique(dim=0, return_counts=True)[1]
    assert len(pairs) == (3 if split == "agree" else 6) and pairs.max() == pairs.min()
    assert torch.equal(shape_texture_grid(36, size, split=split, channels=channels).images, cues.images)
    assert (cues.images - cues.images[:, :1]).eq(0).all()


def test_figures_are_of_one_area_and_lie_inside():
    y, x = torch.meshgrid(*[torch.linspace(-1.5, 1.5, 601)] * 2, indexing="ij")
    areas = [outline(shape, y[None], x[None]).sum().item() * (3 / 600) ** 2 for shape in range(3)]
    assert_close(torch.tensor(areas), torch.full((3,), math.pi), rtol=0.01, atol=0)  # steps of 0.005
    cues = shape_texture_grid(60, (32, 20), contrast=0.0)
    edge = torch.cat([cues.images[..., [0, -1], :].flatten(), cues.images[..., [0, -1]].flatten()])
    assert (edge == 0.25).float().mean() > 0.97  # pixels of the edge that a figure touches are few
    assert cues.images.unique().numel() == 2


def test_textures_are_of_one_strength_and_frequency():
    "In a figure that fills the image nothing else is left: the power is at the planted frequencies."
    cues = shape_texture_grid(30, (64, 64), lift=0.0, period=4.0)
    inside = cues.images[:, 0] != 0.25
    spread = torch.stack([image[where].std() for image, where in zip(cues.images[:, 0], inside, strict=True)])
    assert_close(spread, torch.full((30,), 0.12), rtol=0.15, atol=0)  # figures cut periods
    power = torch.fft.fft2(cues.images[:, 0] - 0.25).abs().square()
    at = torch.stack([power[:, 16, 0], power[:, 0, 16], power[:, 16, 16] + power[:, 16, -16]], 1)
    assert torch.equal(at.argmax(1), cues.textures)


def test_pictures():
    assert plot_choices({"x": CueChoice(3, 1, 2), "none": CueChoice(0, 0, 2)}).axes
    table = pd.DataFrame(dict(accuracy=[1.0, 0.5], low=[0.9, 0.4], high=[1.0, 0.6]), index=[8, 2])
    plot_patches({"x": table}).savefig("/dev/null", format="png")


IMAGES, LABELS = noise(4, 1, 8, 6).float(), torch.tensor([0, 1, 0, 1])
SAID = torch.zeros(4).long()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: swapped(IMAGES, IMAGES[:2]), "others must be of the images' shape"),
    (lambda: swapped(IMAGES * torch.nan, IMAGES), "images must be finite"),
    (lambda: patches_shuffled(IMAGES, 4), "patch must divide both sides of 8 × 6 images; got 4. Take one of 2, 1"),
    (lambda: patches_shuffled(IMAGES, 0), "patch must be a whole number"),
    (lambda: patch_accuracy(Bright(), IMAGES, LABELS, patches=4), "patches must be sides of patches"),
    (lambda: patch_accuracy(Bright(), IMAGES - 0.5, LABELS), r"images must lie in \[0, 1\]"),
    (lambda: phase_choice(Bright(), IMAGES, SAID), "labels must name at least two classes"),
    (lambda: phase_choice(Bright(), IMAGES, LABELS[:3]), "labels must be"),
    (lambda: phase_choice(Bright(), IMAGES[:, 0], LABELS), r"images must be \(b, c, h, w\)"),
    (lambda: phase_choice(Bright(), IMAGES, LABELS, seed=-1), "seed must be"),
    (lambda: shape_bias(SAID, SAID, SAID), "shapes and textures must differ .* 4 of 4 agree"),
    (lambda: shape_bias(SAID[:0], SAID[:0], SAID[:0]), "shapes and textures must differ"),
    (lambda: shape_bias([0, 1], SAID, SAID), "predictions must be whole numbers"),
    (lambda: shape_bias(SAID, SAID, LABELS + 0.5), "textures must be whole numbers"),
    (lambda: entry_level(noise(2, 3), {}), "groups must name"),
    (lambda: entry_level(noise(2, 3), {"a": [0], "b": [0]}), "none twice"),
    (lambda: entry_level(noise(2, 3), {"a": []}), "groups must name"),
    (lambda: shape_texture_grid(3, (15, 20)), "size must be at least 16"),
    (lambda: shape_texture_grid(3, split="both"), "split must be one of agree, conflict"),
    (lambda: shape_texture_grid(3, lift=0.6), "lift must be a number in 0 … 0.5; got 0.6"),
    (lambda: shape_texture_grid(3, period=1), "period must be a number in 2 … inf; got 1"),
    (lambda: shape_texture_grid(0), "n must be"),
    (lambda: plot_choices({"a": 0.5}), "choices must be a dictionary of CueChoice"),
    (lambda: plot_patches({"a": pd.DataFrame()}), r"tables\['a'\] must have rows"),
])
def test_bad_input_is_refused(call, message, annotations_off):
    with pytest.raises((TypeError, ValueError), match=message): call()
