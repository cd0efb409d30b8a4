"Attacks within bands: masks of one dimension, confined ascent beside plain PGD, and spectra of common attacks."
import math

import numpy as np
import pytest
import torch
import torchattacks
from hypothesis import given
from hypothesis import strategies as st
from mask_sets import random_set
from torch import nn
from torch.testing import assert_close

from fourier_mask import accuracy
from fourier_mask.band_attacks import (
    ATTACKS,
    PGDSettings,
    attackable,
    band_attack,
    band_masks,
    band_of,
    band_success,
    confined_pgd,
    half_power_radius,
    half_power_table,
    perturbations,
    plot_band_success,
    plot_perturbation_spectra,
    power_of,
    radial_power,
    spectrum_similarity,
)
from fourier_mask.basis import Cosine, RealFourier, Wavelet, basis_from
from fourier_mask.device import seeded
from fourier_mask.models import Normalized, resnet18
from fourier_mask.part import Phase
from fourier_mask.spectrum import mirror, radius, symmetrize

SIZES = [(16, 16), (9, 7), (8, 15), (12, 30)]
BOTH = ("cosine", "fourier")


def curved(channels, size, classes=3):
    "A smooth network in double precision, in which no rounding can flip the sign of a slope."
    with seeded(0, None):
        h, w = size
        layers = nn.Conv2d(channels, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * (h - 2) * (w - 2), classes)
        return nn.Sequential(*layers).double()


def unit(n, channels, size, seed=0):
    "Images in [0, 1], a fifth of their pixels at either end, so that both cuts act."
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, channels, *size, generator=generator, dtype=torch.float64)
    return ((images - 0.1) / 0.8).clamp(0, 1), torch.arange(n) % 3


def reads(plane):
    "A linear network of two classes whose slope is a plane."
    return lambda x: torch.stack([-(found := (x * plane.to(x)).sum((1, 2, 3))), found], 1)


# bands

@pytest.mark.parametrize("basis", BOTH)
@pytest.mark.parametrize("size", SIZES)
def test_bands_have_one_dimension_and_share_nothing(basis, size):
    for n in range(2, 5 if size != (9, 7) else 4):
        bands = band_masks(size, n, basis)
        assert list(bands) == ["low", "mid", "high", "random"]
        dimension = n * n if basis == "cosine" else n * n - n % 2
        for plane in bands.values():
            assert plane.shape == size and set(plane.unique().tolist()) == {0, 1} and plane.sum() == dimension
            if basis == "fourier": assert torch.equal(plane, mirror(plane)) and plane[0, 0] == 0
        assert (bands["low"] + bands["mid"] + bands["high"]).max() == 1


@pytest.mark.parametrize("size", SIZES)
def test_bands_lie_where_they_are_said_to(size):
    cosines, waves = band_masks(size, 3), band_masks(size, 3, "fourier")
    block = torch.zeros(size)
    block[:3, :3] = 1
    assert torch.equal(cosines["low"], block)
    lines = [torch.arange(n).double() / (2 * n) for n in size]
    reach, radii = torch.maximum(lines[0][:, None], lines[1]), radius(size)
    for bands, order in ((cosines, reach), (waves, radii)):
        outside, mid, high = (order[bands[name] == 1] for name in ("low", "mid", "high"))
        assert mid.max() <= high.min() and (bands is cosines or outside.max() <= mid.min())
        rest = order[(bands["high"] == 0) & (bands["low"] == 0)]
        if bands is waves: rest = rest[1:]  # zero frequency belongs to no band
        assert rest.max() <= high.min() + 1e-9 or bands is waves and rest.max() <= math.sqrt(0.5)
        below, above = (rest < mid.min() - 1e-9).sum(), (rest > mid.max() + 1e-9).sum()
        assert abs(int(below) - int(above)) <= len(rest) / 4  # ties on both sides are not counted


def test_bands_are_drawn_by_their_seed_and_leave_the_global_generator_alone():
    state = torch.random.get_rng_state()
    one, same, other = (band_masks((16, 16), 5, seed=seed)["random"] for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("size", "basis", "n", "most"), [
    ((16, 16), "cosine", 10, 9), ((3, 90), "cosine", 4, 3), ((9, 7), "fourier", 5, 4), ((9, 7), "fourier", 1, 4)])
def test_bands_that_do_not_fit_are_refused(size, basis, n, most):
    with pytest.raises(ValueError, match=f"n must .* at most {most}; got {n}"): band_masks(size, n, basis)
    assert band_masks(size, most, basis)["high"].sum() > 0


def test_bands_of_another_basis_are_refused():
    with pytest.raises(ValueError, match="basis must be cosine or fourier"): band_masks((8, 8), 2, "wavelet")


# the attack

@pytest.mark.parametrize(("basis", "channels", "size"), [
    *((basis, *each) for basis in BOTH for each in ((1, (16, 12)), (3, (7, 9)), (2, (5, 8)))),
    (Wavelet((12, 8)), 3, (12, 8))])
def test_with_a_mask_of_ones_it_is_plain_pgd(basis, channels, size):
    model, (images, labels) = curved(channels, size), unit(5, channels, size)
    wanted = torchattacks.PGD(model, 12 / 255, 3 / 255, 7, random_start=False)(images, labels)
    added = band_attack(model, images, labels, torch.ones(size), basis=basis, eps_255=12, alpha_255=3, steps=7)
    assert_close(images + added, wanted, rtol=0, atol=1e-10)  # a transform and back; Haar's matrices are float32's
    assert ((wanted == 0) | (wanted == 1)).any() and added.abs().max() > 11.9 / 255


def test_a_normalized_network_with_norms_is_attacked_as_torchattacks_does():
    "In float32 and folded: some slopes near 0 change their sign by rounding, and little follows from them."
    with seeded(0, None): model = Normalized(resnet18(3, 3, 0.125, (32, 32)), 0.4, 0.2)
    images, labels = unit(4, 3, (32, 32))
    images = images.float()
    wanted = torchattacks.PGD(model.eval(), steps=2, random_start=False)(images, labels)
    model.train()
    adversarial = images + band_attack(model, images, labels, torch.ones(32, 32), basis="fourier", steps=2)
    assert ((adversarial - wanted).abs() < 1e-5).float().mean() > 0.98


@pytest.mark.parametrize("basis", BOTH)
@pytest.mark.parametrize(("channels", "size"), [(1, (16, 16)), (3, (9, 11))])
@pytest.mark.parametrize("random_start", [False, True])
def test_what_is_added_lies_in_the_band_before_anything_is_cut(basis, channels, size, random_start):
    model, (images, labels) = curved(channels, size), unit(4, channels, size)
    images = images * 0.5 + 0.25
    for plane in band_masks(size, 3, basis).values():
        own = dict(basis=basis, eps_255=60, alpha_255=1, random_start=False)
        if random_start: own |= dict(eps_255=60, alpha_255=0, random_start=True)
        for steps in (1, 3):
            added = band_attack(model, images, labels, plane, steps=steps, **own)
            assert added.abs().max() < 60 / 255 and added.any()
            outside = basis_from(basis, size).inverse(basis_from(basis, size)(added) * (1 - band_of(
                plane, basis, images).m))
            assert outside.abs().max() < 1e-12  # rounding of a transform of numbers below 0.25


@given(st.integers(0, 50), st.booleans())
def test_every_change_keeps_within_both_limits(seed, random_start):
    model, (images, labels) = curved(1, (7, 6)), unit(3, 1, (7, 6), seed)
    plane = band_masks((7, 6), 2, "cosine", seed)["random"]
    added = band_attack(model, images, labels, plane, basis="cosine", eps_255=30, alpha_255=20, steps=3, seed=seed,
                        random_start=random_start)
    assert added.abs().max() <= 30 / 255 and 0 <= (images + added).min() and (images + added).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(16, 16), (15, 12)])
def test_a_linear_network_is_turned_in_the_band_of_its_slope_and_nowhere_else(channels, size):
    h, w = size
    frequencies = {"low": (1, 1), "mid": None, "high": (h // 2 - 1, w // 2 - 1)}
    bands = band_masks(size, 5, "fourier")
    v, u = (bands["mid"] == 1).nonzero()[0].tolist()
    frequencies["mid"] = v, u
    y, x = torch.meshgrid(torch.arange(h).double(), torch.arange(w).double(), indexing="ij")
    for v, u in frequencies.values():
        wave = torch.cos(2 * math.pi * (v * y / h + u * x / w) + 0.3)
        signs = torch.tensor([1.0, -1, 1, -1]).double()
        images = 0.5 + 0.01 * (signs[:, None, None] * wave)[:, None].expand(4, channels, h, w)
        # 2/255 a step is behind the mask some 1.27 · 2/255, so that ten of them reach 0.1 and nothing is cut
        table = band_success(reads(wave), images, (signs > 0).long(), bands, basis="fourier", eps_255=60)
        assert (table.n == 4).all() and (table.in_band_pct.dropna() > 99.999).all()
        assert table.turned.to_dict() == {band: 4 * int(plane[v, u]) for band, plane in bands.items()}


@pytest.mark.parametrize("m", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("basis", BOTH)
def test_a_soft_mask_sums_a_geometric_series(m, basis):
    "Of a linear network, whose slope is always the same."
    size, steps = (9, 8), 12
    B, weights = basis_from(basis, size), torch.randn(9, 8, generator=torch.Generator().manual_seed(1)).double()
    images, labels = torch.full((1, 1, *size), 0.5).double(), torch.tensor([0])
    plane = torch.zeros(size).double()
    plane[2, 3] = plane[-2, -3] = m
    if basis == "cosine": plane[-2, -3] = 0
    added = band_attack(reads(weights), images, labels, plane, basis=basis, alpha_255=1, eps_255=60, steps=steps)
    moved = weights.sign() / 255  # away from class 0: up the weights
    wanted = B.inverse(B(moved[None, None]) * B.orbit_values((plane > 0).double())[B.orbits])
    assert_close(added, wanted * m * (1 - m**steps) / (1 - m), rtol=0, atol=1e-10)


def test_a_mask_for_each_image_is_as_each_mask_alone():
    masks = random_set(5, size=(7, 6))
    model, (images, labels) = curved(1, (7, 6)), unit(5, 1, (7, 6))
    together = band_attack(model, images, labels, masks, batch_size=2)
    for row in range(5):
        alone = band_attack(model, images[[row]], labels[[row]], masks[[row]])
        assert_close(together[[row]], alone, rtol=0, atol=1e-12)  # the network rounds by the size of its batch
    planes = masks.masks
    assert_close(band_attack(model, images, labels, planes, basis="fourier"), together, rtol=0, atol=1e-12)


def test_a_mask_may_have_the_channels_of_the_images_and_a_set_brings_its_basis():
    masks = random_set(1, 3, (7, 6), basis=Cosine((7, 6)))
    model, (images, labels) = curved(3, (7, 6)), unit(4, 3, (7, 6))
    by_set = band_attack(model, images, labels, masks)
    assert_close(by_set, band_attack(model, images, labels, masks.masks, basis="cosine"), rtol=0, atol=1e-12)
    assert band_of(masks, None, images).dimension == pytest.approx(masks.masks.sum().item() / 3, rel=1e-6)


@pytest.mark.parametrize("random_start", [False, True])
def test_it_repeats_itself_whatever_the_batches_and_draws_by_its_seed(random_start):
    model, (images, labels) = curved(1, (7, 6)), unit(7, 1, (7, 6))
    plane = band_masks((7, 6), 3)["low"]
    call = lambda **own: band_attack(model, images, labels, plane, basis="cosine", random_start=random_start, **own)
    one = call()
    assert torch.equal(one, call())
    for batch_size in (1, 3): assert_close(call(batch_size=batch_size), one, rtol=0, atol=1e-12)  # rounding of a batch
    assert torch.equal(one, call(seed=1)) != random_start


@pytest.mark.parametrize("training", [False, True])
def test_the_network_and_the_generators_are_left_as_they_were(training):
    model = Normalized(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3),
                                     nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 3 * 4, 3)), 0.5, 0.2)
    model.train(training)
    model.model[0].weight.requires_grad_(False)
    images, labels = (x if x.dtype == torch.long else x.float() for x in unit(4, 1, (7, 8)))
    kept, needs = {k: v.clone() for k, v in model.state_dict().items()}, [p.requires_grad for p in model.parameters()]
    copy, state = images.clone(), torch.random.get_rng_state()
    band_attack(model, images, labels, torch.ones(7, 8), basis="fourier", random_start=True, steps=2)
    band_success(model, images, "predicted", {"all": torch.ones(7, 8)}, basis="cosine", steps=2)
    for attack in ATTACKS: perturbations(model, images, labels, attack)
    assert [m.training for m in model.modules()] == [training] * len(list(model.modules()))
    assert [p.requires_grad for p in model.parameters()] == needs and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(kept[k], v) for k, v in model.state_dict().items())
    assert torch.equal(images, copy) and torch.equal(torch.random.get_rng_state(), state)


def test_outputs_are_picked_and_predicted_labels_are_the_networks_own():
    model, (images, _) = curved(1, (7, 6)), unit(4, 1, (7, 6))
    plane = torch.ones(7, 6)
    wanted = band_attack(model, images, model(images).argmax(1), plane, basis="cosine")
    picked = band_attack(lambda x: {"logits": model(x)}, images, "predicted", plane, basis="cosine",
                         output_fn=lambda out: out["logits"])
    assert_close(picked, wanted, rtol=0, atol=1e-12)


def test_a_basis_of_the_callers_own_is_not_moved():
    basis, (images, labels) = Cosine((7, 6)), unit(2, 1, (7, 6))
    band_attack(curved(1, (7, 6)).float(), images.float(), labels, torch.ones(7, 6), basis=basis)
    assert basis.matrix_0.dtype == torch.float64


def test_attacks_that_cannot_be_are_refused(annotations_off):
    model, (images, labels) = curved(1, (7, 6)), unit(4, 1, (7, 6))
    ones = torch.ones(7, 6)
    uneven = ones.clone()
    uneven[0, 1] = 0
    phase = random_set(4, size=(7, 6), basis=RealFourier((7, 6)), part=Phase(RealFourier((7, 6))))
    usual = dict(model=model, images=images, labels=labels, mask=ones, basis="fourier")
    for change, said in [
        (dict(images=images + 0.05), "images must lie in [0, 1] exactly"), (dict(images=images - 0.5), "[0, 1]"),
        (dict(images=images * 255), "Divide bytes by 255"), (dict(images=images[:, 0]), "(b, c, h, w)"),
        (dict(labels=labels + 1), "labels must lie in 0 … 2"), (dict(labels=labels - 1), "labels must lie in 0 … 2"),
        (dict(labels=labels[:2]), "labels"), (dict(labels=labels.double()), "labels"),
        (dict(mask=torch.ones(6, 7)), "mask must be a plane (7, 6)"), (dict(mask=torch.ones(3, 1, 7, 6)), "mask must"),
        (dict(mask=torch.ones(1, 3, 7, 6)), "mask must"), (dict(mask=ones[None]), "mask must have the axes"),
        (dict(mask=2 * ones), "mask must lie in [0, 1]"), (dict(mask=ones * math.nan), "mask must be finite"),
        (dict(mask=uneven), "mask must be point-symmetric"), (dict(mask=phase), "part Filter"),
        (dict(mask=None), "mask must be a tensor"), (dict(basis=None), "basis must be given"),
        (dict(basis="dct"), "basis must be one of"), (dict(basis=Cosine((8, 6))), "basis must be of the images' size"),
        (dict(eps_255=-1), "eps_255"), (dict(alpha_255=math.nan), "alpha_255"), (dict(steps=0), "steps"),
        (dict(seed=-1), "seed"), (dict(batch_size=0), "batch_size"), (dict(random_start="yes"), "random_start"),
        (dict(epsilon=3), "epsilon"), (dict(precision="fp16"), "precision"), (dict(model="resnet18"), "model"),
    ]:
        with pytest.raises((ValueError, TypeError)) as error: band_attack(**usual | change)
        assert said in str(error.value) and "\n" not in str(error.value), (change, error.value)
    assert band_attack(**usual | dict(mask=uneven, basis="cosine")).any()
    assert band_attack(**usual | dict(mask=symmetrize(uneven))).any()


# success

def test_success_is_of_the_images_that_were_right():
    masks = random_set(6, size=(7, 6))
    model, (images, _) = curved(1, (7, 6)), unit(6, 1, (7, 6))
    labels = model(images).argmax(1)
    labels[:2] = (labels[:2] + 1) % 3
    planes = {"own": masks, "low": band_masks((7, 6), 2, "fourier")["low"]}
    table = band_success(model, images, labels, planes, basis="fourier", eps_255=20, alpha_255=10)
    assert table.index.tolist() == ["own", "low"] and (table.n == 4).all()
    for name, mask in planes.items():
        added = band_attack(model, images[2:], labels[2:], masks[2:] if name == "own" else mask,
                            basis="fourier", eps_255=20, alpha_255=10)
        row = table.loc[name]
        assert row.turned == (model(images[2:] + added).argmax(1) != labels[2:]).sum()
        assert row.success_pct == 25 * row.turned and row.low_pct <= row.success_pct <= row.high_pct
        assert row.norm == pytest.approx(added.flatten(1).norm(dim=1).mean().item())
    assert table.dimension.tolist() == pytest.approx([masks.masks.sum((1, 2, 3)).mean().item(), 4])


def test_success_without_scipy_has_no_interval(monkeypatch):
    monkeypatch.setattr(accuracy, "find_spec", lambda name: None)
    model, (images, _) = curved(1, (7, 6)), unit(3, 1, (7, 6))
    table = band_success(model, images, "predicted", {"all": torch.ones(7, 6)}, basis="cosine", steps=1)
    assert table[["low_pct", "high_pct"]].isna().to_numpy().all() and table.success_pct.notna().all()
    plot_band_success({"one": table}).canvas.draw()


def test_success_that_cannot_be_counted_is_refused(annotations_off):
    model, (images, labels) = curved(1, (7, 6)), unit(3, 1, (7, 6))
    wrong = (model(images).argmax(1) + 1) % 3
    with pytest.raises(ValueError, match="labels must be right for at least one"):
        band_success(model, images, wrong, {"all": torch.ones(7, 6)}, basis="cosine")
    for masks in ({}, torch.ones(7, 6), None):
        with pytest.raises(TypeError, match="masks must be a dictionary"): band_success(model, images, labels, masks)
    with pytest.raises(TypeError, match="table"): plot_band_success({"success_pct": [1]})


def test_the_share_in_the_band_is_of_power():
    images = torch.full((2, 1, 6, 5), 0.5).double()
    low = band_masks((6, 5), 2)["low"]
    inside = band_of(low, "cosine", images).confine(torch.randn(2, 1, 6, 5).double())
    outside = band_of(1 - low, "cosine", images).confine(torch.randn(2, 1, 6, 5).double())
    inside, outside = (x / x.flatten(1).norm(dim=1)[:, None, None, None] for x in (inside, outside))
    assert_close(band_of(low, "cosine", images).share(3 * inside + outside), torch.full((2,), 0.9).double())
    with attackable(curved(1, (6, 5)), images, "predicted", None, "float32", 2) as (answer, asked):
        added, share = confined_pgd(answer, asked, band_of(low, "cosine", images), PGDSettings(alpha_255=0))
    assert not added.any() and share.isnan().all()


# common attacks

@pytest.mark.parametrize(("attack", "settings"), [
    ("FGSM", dict(eps=0.05)), ("PGD", dict(eps=0.05, steps=3)), ("PGDL2", dict(eps=0.5, steps=3)),
    ("DeepFool", dict(overshoot=0.05)), ("CW", dict(c=5, steps=20))])
def test_a_common_attack_is_torchattacks_own(attack, settings):
    model, (images, labels) = curved(3, (7, 9)), unit(4, 3, (7, 9))
    own = nn.Sequential(model)  # whose logits are above 0, as CW needs them: a constant changes no answer
    own.forward = lambda x: model(x) + 20
    with seeded(3, None): wanted = getattr(torchattacks, attack)(own, **settings)(images, labels) - images
    added = perturbations(model, images, labels, attack, seed=3, **settings)
    assert_close(added, wanted.detach(), rtol=0, atol=1e-10)  # nothing is folded here
    assert not added.requires_grad and torch.equal(
        added, perturbations(model, images, labels, attack, seed=3, **settings))


def test_what_follows_the_slope_of_a_linear_network_has_its_spectrum():
    weights = torch.randn(6, 7, generator=torch.Generator().manual_seed(0)).double()
    images = 0.5 + 0.02 * torch.rand(5, 1, 6, 7, generator=torch.Generator().manual_seed(1)).double()
    model = reads(weights - weights.mean())
    direction = (weights - weights.mean()) / (weights - weights.mean()).norm()
    for attack, own in {"DeepFool": {}, "PGDL2": dict(random_start=False, eps=0.3)}.items():
        added = perturbations(model, images, "predicted", attack, **own)
        along = (added[:, 0] * direction).sum((1, 2))[:, None, None] * direction
        assert_close(added[:, 0], along, rtol=0, atol=1e-10)
        assert_close(half_power_radius(added), half_power_radius(direction[None, None]).expand(5))
    assert perturbations(model, images, "predicted", "FGSM").abs().unique().numel() <= 5  # ε, up to rounding


def test_pixels_at_the_ends_are_not_moved_by_cw_and_wrong_images_not_by_deepfool():
    model, (images, _) = curved(1, (7, 6)), unit(4, 1, (7, 6))
    images = 0.4 + 0.2 * images
    images[..., 0, :], images[..., 1, :] = 0, 1
    right = model(images).argmax(1)
    added = perturbations(model, images, right, "CW", c=1000, lr=0.05)
    assert added.any() and added[(images == 0) | (images == 1)].abs().max() < 1e-12
    right[0] = (right[0] + 1) % 3
    none = perturbations(model, images, right, "DeepFool").flatten(1).norm(dim=1) == 0
    assert none.tolist() == [True, False, False, False]


def test_common_attacks_that_are_none_are_refused(annotations_off):
    model, (images, labels) = curved(1, (7, 6)), unit(4, 1, (7, 6))
    for own, said in [(dict(attack="fgsm"), "attack must be one of"), (dict(attack=None), "attack must be one of"),
                      (dict(attack="PGD", epsilon=1), "epsilon=1 is no setting of PGD"),
                      (dict(attack="CW", c="one"), "c='one'"), (dict(attack="PGD", eps=math.nan), "eps=nan"),
                      (dict(attack="PGD", steps=2.5), "steps must"), (dict(batch_size=0), "batch_size"),
                      (dict(seed=-1), "seed"), (dict(images=images + 0.2), "images must")]:
        with pytest.raises(ValueError) as error: perturbations(**dict(
            model=model, images=images, labels=labels) | own)
        assert said in str(error.value), error.value


# spectra

@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 11), st.integers(0, 11), st.integers(1, 3))
def test_the_radius_of_a_pure_wave_is_its_frequency(h, w, v, u, channels):
    v, u = v % h, u % w
    y, x = torch.arange(h).double()[:, None], torch.arange(w).double()
    wave = torch.cos(2 * math.pi * (v * y / h + u * x / w) + 0.4)
    added = wave.expand(2, channels, h, w)
    wanted = radius((h, w))[v, u].item()
    found = [*half_power_radius(added).tolist(), half_power_radius(added, pooled=True).item()]
    assert found == pytest.approx([wanted] * 3, abs=1e-8)  # radii are told apart to 1e-9


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (6, 11), (1, 9)])
def test_the_radius_of_white_noise_is_that_of_half_of_the_entries(size):
    "A single pixel's power is flat; the sum over sorted radii, with ties in the middle, by a loop."
    radii, n = sorted(radius(size).flatten().round(decimals=9).tolist()), math.prod(size)
    distinct = sorted(set(radii))
    reached = [(sum(r < d for r in radii) + sum(r == d for r in radii) / 2) / n for d in distinct]
    after = next(i for i, q in enumerate(reached) if q >= 0.5)
    before = after - 1
    way = (0.5 - reached[before]) / (reached[after] - reached[before])
    wanted = distinct[before] + way * (distinct[after] - distinct[before])
    point = torch.zeros(1, 1, *size)
    point[..., size[0] // 2, 1] = 1
    assert half_power_radius(point).item() == pytest.approx(wanted, abs=1e-6)
    noise = torch.randn(300, 2, *size, generator=torch.Generator().manual_seed(0))
    spread = (half_power_radius(noise).std() / 300**0.5).item()
    assert abs(half_power_radius(noise, pooled=True).item() - wanted) < 5 * spread


def test_the_radius_between_neighbours_of_nothing_and_of_a_turned_image():
    line = torch.arange(16.0).double()
    two = torch.cos(2 * math.pi * 3 * line / 16) + torch.cos(2 * math.pi * 4 * line / 16)
    assert half_power_radius(two.reshape(1, 1, 1, 16)).item() == pytest.approx(3.5 / 16)  # equal power on either side
    assert half_power_radius(torch.zeros(2, 1, 4, 4)).isnan().all()
    with pytest.raises(ValueError, match="added must hold at least one"): half_power_radius(torch.zeros(0, 1, 4, 4))
    assert half_power_radius(torch.ones(1, 1, 4, 4)) == 0
    noise = torch.randn(3, 2, 9, 6, generator=torch.Generator().manual_seed(0))
    for other in (noise.rot90(1, (2, 3)), noise.flip(2), noise.roll(2, 3), -3 * noise):
        assert_close(half_power_radius(other), half_power_radius(noise), rtol=0, atol=1e-6)  # of float32


def test_power_in_rings_adds_up_and_per_area_of_a_point_is_flat():
    noise = torch.randn(4, 3, 9, 6, generator=torch.Generator().manual_seed(0)).double()
    noise[2] = 0
    assert_close(power_of(noise).sum((1, 2)), noise.square().sum((1, 2, 3)))  # Parseval
    assert radial_power(noise, 5).sum().item() == pytest.approx(1)
    assert_close(radial_power(noise * torch.tensor([1, 5, 1, 9])[:, None, None, None], 5), radial_power(noise, 5))
    point = torch.zeros(1, 1, 8, 8).double()
    point[..., 3, 3] = 2
    assert_close(radial_power(point, 4, per_area=True), torch.full((4,), 1 / 64).double())


def test_the_table_counts_what_is_left_out(annotations_off):
    noise = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noise[:2] = 0
    table = half_power_table({"a": noise, "one": noise[:3], "none": noise[:2]})
    assert table.n.tolist() == [4, 1, 0] and table.none.tolist() == [2, 2, 2]
    radii = half_power_radius(noise[2:]).numpy()
    assert table.mean_cyc["a"] == pytest.approx(radii.mean())
    assert table.spread_cyc["a"] == pytest.approx(1.96 * radii.std(ddof=1) / 2)
    assert np.isnan(table.spread_cyc["one"]) and np.isnan(table.mean_cyc["none"])
    for wrong in ({}, noise, {"a": noise[0]}, {"a": noise, "b": noise[..., 1:]}, {"a": None}):
        with pytest.raises((TypeError, ValueError), match="by_attack"): half_power_table(wrong)


# likeness

def naive_likeness(a, b, rows=slice(None)):
    "Cosine of the mean shares over orbits, by the definition."
    basis, means = RealFourier(tuple(a.shape[2:])).double(), []
    for added in (a[rows], b[rows]):
        power = power_of(added)
        means.append(basis.orbit_values(power / power.sum((1, 2), keepdim=True)).mean(0))
    return (means[0] @ means[1] / means[0].norm() / means[1].norm()).item(), means


@pytest.mark.parametrize("size", [(8, 8), (7, 6)])
def test_likeness_is_a_cosine_with_a_paired_bootstrap_and_its_chance(size):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(9, 2, *size, generator=generator)
    b = a + 0.5 * torch.randn(9, 2, *size, generator=generator)
    found, (wanted, (one, other)) = spectrum_similarity(a, b, repeats=200, seed=4), naive_likeness(a, b)
    drawn = torch.randint(9, (200, 9), generator=torch.Generator().manual_seed(4))
    ends = np.quantile([naive_likeness(a, b, rows)[0] for rows in drawn], [0.025, 0.975])
    assert found["n"] == 9
    for name, value in dict(similarity=wanted, low=ends[0], high=ends[1]).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    shuffled = torch.stack([one[torch.randperm(len(one), generator=generator)] for _ in range(4000)])
    chance = (shuffled @ other / one.norm() / other.norm()).mean().item()
    assert found["chance"] == pytest.approx(chance, abs=0.003)  # mean of 4000 shuffles
    back = spectrum_similarity(b, a, repeats=200, seed=4)
    assert back == pytest.approx(found) and spectrum_similarity(a, b, repeats=200, seed=5)["low"] != found["low"]


def test_likeness_leaves_out_images_that_one_attack_leaves_alone():
    noise = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    less, other = noise.clone(), noise.flip(0).clone()
    less[0], other[5] = 0, 0
    found = spectrum_similarity(less, other)
    assert found["n"] == 4 and found == pytest.approx(spectrum_similarity(noise[1:5], noise.flip(0)[1:5]))
    same = spectrum_similarity(noise, -2 * noise)
    assert [same[name] for name in ("similarity", "low", "high")] == pytest.approx([1, 1, 1])


def test_likeness_of_what_is_not_paired_is_refused(annotations_off):
    noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for a, b, own, said in [(noise, noise[:3], {}, "same images"), (noise, noise[..., 1:], {}, "one size"),
                            (noise, 0 * noise, {}, "at least one image"), (noise, None, {}, "a and b"),
                            (noise, noise, dict(repeats=0), "repeats"), (noise, noise, dict(seed=-1), "seed")]:
        with pytest.raises((TypeError, ValueError), match=said): spectrum_similarity(a, b, **own)


# pictures

def test_pictures_show_the_numbers():
    noise = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    fig = plot_perturbation_spectra({"white_$x$": noise, "blurred": noise + noise.roll(1, 3) + noise.roll(1, 2)}, 6)
    ax, = fig.axes
    assert_close(torch.tensor(ax.lines[0].get_ydata()), 100 * radial_power(noise, 6).double(), check_dtype=False)
    assert "white_$x$" in ax.get_legend().get_texts()[0].get_text()
    fig.canvas.draw()
    model, (images, _) = curved(1, (7, 6)), unit(3, 1, (7, 6))
    table = band_success(model, images, "predicted", band_masks((7, 6), 2), basis="cosine", eps_255=60, alpha_255=30)
    fig = plot_band_success({"$one$": table, "other": table / 2})
    assert [bar.get_height() for bar in fig.axes[0].patches] == [*table.success_pct, *table.success_pct / 2]
    assert fig.legends[0].get_texts()[0].get_text() == "$one$"
    fig.canvas.draw()


def test_one_image_is_drawn_without_an_interval():
    noise = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plot_perturbation_spectra({"one": noise}).canvas.draw()
