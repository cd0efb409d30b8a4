"The Fourier heat map and the single Fourier attack: waves by numpy, networks whose maps are known, rows that go on."
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import in_unit, small_images, small_network
from torch import nn

from fourier_mask import Normalized, learn_image_masks, radial_energy
from fourier_mask import sensitivity as page
from fourier_mask.band_attacks import band_attack
from fourier_mask.diagnosis import diagnose
from fourier_mask.sensitivity import SignWave, UnitWave, grid_of, plot_sensitivity, sensitivity_map

QUIET = dict(progress=False)
sides = st.integers(1, 9)


def network_of(size=(6, 5), classes=3): return small_network(size, classes)


def unit_images(n=12, size=(6, 5)): return in_unit(small_images(n, size)[0])


@given(sides, sides, st.integers(-9, 9), st.integers(-9, 9))
def test_waves_are_the_formulas_of_the_papers(h, w, v, u):
    y, x = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    theta = 2 * np.pi * (v * y / h + u * x / w)
    at = torch.tensor([v]), torch.tensor([u]), (h, w)
    assert np.allclose(np.cos(page.phase_of(*at)[0].numpy()), np.cos(theta), atol=1e-9)  # whole turns are left out
    cosine = np.cos(theta)
    unit = UnitWave(0.5).planes(*at)[0].numpy()
    assert np.allclose(unit, 0.5 * cosine / math.sqrt((cosine**2).mean()), atol=1e-5)  # float32
    assert np.isclose(np.linalg.norm(unit), 0.5 * math.sqrt(h * w), rtol=1e-5)  # Yin's v
    assert (np.abs(np.fft.fft2(unit)) > 1e-4 * h * w).sum() <= 2  # one conjugate pair
    square, exact = SignWave(51).planes(*at)[0].numpy(), np.cos(theta) - np.sin(theta)
    clear = np.abs(exact) > 1e-5  # where rounding cannot decide the sign
    assert np.allclose(square[clear], 0.2 * np.sign(exact)[clear])


@given(sides, st.integers(0, 5))
def test_a_grid_is_symmetric_with_zero_first(side, half):
    if half > (side - 1) // 2:
        with pytest.raises(ValueError, match="grid must be odd and at most"): grid_of(side, 2 * half + 1)
        return
    grid = grid_of(side, 2 * half + 1)
    assert grid[0] == 0 and sorted(grid.tolist()) == sorted((-grid).tolist()) and len(grid.unique()) == 2 * half + 1
    if half: assert grid.max() == (side - 1) // 2  # to the edge
    assert sorted(grid_of(side, None).tolist()) == list(range(-(side // 2), (side + 1) // 2))


@pytest.mark.parametrize("size", [(6, 5), (1, 7), (4, 4), (3, 8)])
@pytest.mark.parametrize("wave", ["unit", "sign"])
def test_a_map_is_what_asking_one_by_one_gives(size, wave):
    "Each frequency by itself, with the page's own signs and nothing else of its loop."
    model, images = network_of(size), unit_images(7, size)
    found = sensitivity_map(model, images, wave=wave, batch_size=5, seed=3, **QUIET)
    wave, (h, w) = page.WAVES[wave](), size
    with torch.no_grad(): right = model(images).argmax(1)
    for row in range(h):
        generator = torch.Generator().manual_seed(3 + 1_000_003 * row)
        columns = w // 2 + 1 if -row % h == row and wave.even else w
        signs = 2.0 * torch.randint(2, (columns, 7, 1), generator=generator) - 1
        for column in range(w):
            first = (row, column) if not wave.even or row < -row % h else (-row % h, -column % w)
            if wave.even and row == -row % h: first = row, min(column, -column % w)
            if first != (row, column):
                assert found.share[row, column] == found.share[first]
                continue
            plane = wave.planes(found.v[row : row + 1], found.u[column : column + 1], size)
            added = plane * signs[column, :, :, None] if wave.signed else plane
            with torch.no_grad(): said = model((images + added[:, None]).clamp(0, 1)).argmax(1)
            assert found.share[row, column] == (said != right).float().mean(), (row, column)


def test_batches_and_centring_change_nothing_and_the_network_is_left_as_it_was():
    inner = network_of().train().float()
    images, labels = unit_images().float(), small_images()[1]
    model, state = Normalized(inner, 0.5, 0.25), torch.get_rng_state()
    first = sensitivity_map(model, images, labels, batch_size=64, **QUIET)
    assert inner.training and model.training and all(p.requires_grad for p in inner.parameters())
    assert torch.equal(state, torch.get_rng_state())
    by_itself = sensitivity_map(lambda x: inner((x - 0.5) / 0.25), images, labels, batch_size=7, **QUIET)
    inside = sensitivity_map(lambda x: model(x), images, labels, **QUIET)  # for masks it would be refused
    assert torch.equal(first.share, by_itself.share) and first.without == by_itself.without
    assert torch.equal(first.share, inside.share)
    assert first.without == (model(images).argmax(1) != labels).float().mean()


class Blind(nn.Module):
    "Reads a random template, of frequencies below a cut only."

    def __init__(self, size, cut):
        super().__init__()
        v, u = torch.fft.fftfreq(size[0])[:, None], torch.fft.fftfreq(size[1])[None]
        noise = torch.randn(size, generator=torch.Generator().manual_seed(0))
        plane = torch.fft.ifft2(torch.fft.fft2(noise) * ((v**2 + u**2).sqrt() < cut)).real
        self.template = plane - plane.mean()

    def forward(self, x):
        found = (x * self.template).sum((1, 2, 3))
        return torch.stack([-found, found], 1)


@pytest.mark.parametrize("wave", [UnitWave(0.05), SignWave(5)])
def test_a_network_blind_above_a_cut_has_a_map_of_zeros_there(wave):
    size, cut = (12, 9), 0.2
    images = 0.5 + 0.02 * torch.randn(30, 3, *size, generator=torch.Generator().manual_seed(1))  # nothing is cut off
    found = sensitivity_map(Blind(size, cut), images, wave=wave, **QUIET)
    cycles = torch.hypot(found.v[:, None] / size[0], found.u[None] / size[1])
    sees = (cycles < cut) & (cycles > 0)
    assert found.share[sees].mean() > 0.1
    if isinstance(wave, UnitWave):  # a square wave has multiples of its frequency, which fold back below the cut
        assert found.share[~sees].max() == 0
        assert found.radial(7)[3:].max() == 0 < found.radial(7)[:2].max()  # 0.2 cycles lie in the second ring
    assert math.hypot(found.worst[0] / size[0], found.worst[1] / size[1]) < cut


def test_rings_are_those_of_masks():
    found = sensitivity_map(network_of(), unit_images(), **QUIET)
    by_hand = radial_energy(found.share[None].double(), 6, per_area=True) * found.share.double().norm()
    squares = torch.stack([found.share[radius_is(found, ring, 6)].double().square().mean().sqrt() for ring in range(6)])
    torch.testing.assert_close(by_hand[0], squares)  # the same rings, of another mean
    means = torch.stack([found.share[radius_is(found, ring, 6)].mean() for ring in range(6)])
    torch.testing.assert_close(found.radial(6), means)


def radius_is(found, ring, n):
    cycles = torch.hypot(found.v[:, None].double() / 6, found.u[None].double() / 5)
    return (cycles * math.sqrt(2) * n).long().clamp(max=n - 1) == ring


class Stops(nn.Module):
    "Fails after so many images."

    def __init__(self, model, left):
        super().__init__()
        self.model, self.left = model, left

    def forward(self, x):
        self.left -= len(x)
        if self.left < 0: raise KeyboardInterrupt
        return self.model(x)


def test_an_interrupted_map_goes_on_by_rows(tmp_path):
    images, path = unit_images(), tmp_path / "rows.safetensors"
    whole = sensitivity_map(network_of(), images, wave="sign", **QUIET)
    model = Stops(network_of(), 220)  # some twenty for a look, and sixty a row
    with pytest.raises(KeyboardInterrupt): sensitivity_map(model, images, wave="sign", path=path, **QUIET)
    model.left = 10**9
    again = sensitivity_map(model, images, wave="sign", path=path, **QUIET)
    asked = 10**9 - model.left
    assert torch.equal(again.share, whole.share) and asked < 6 * 5 * 12  # not all rows
    model.left = 100
    assert torch.equal(sensitivity_map(model, images, wave="sign", path=path, **QUIET).share, whole.share)  # none


@pytest.mark.parametrize(("change", "told"), [
    (dict(wave=SignWave(4)), "strength"), (dict(wave="unit"), "wave"), (dict(seed=1), "seed"), (dict(grid=3), "grid"),
    (dict(labels=torch.zeros(12, dtype=torch.long)), "origin"), (dict(model=small_network((6, 5), 4)), "network"),
])
def test_rows_of_another_map_are_refused_with_the_difference(tmp_path, change, told):
    usual = dict(model=network_of(), images=unit_images(), wave="sign", path=tmp_path / "rows", **QUIET)
    sensitivity_map(**usual)
    with pytest.raises(ValueError, match=f"holds a map of something else: .*{told} is"):
        sensitivity_map(**usual | change)


@settings(max_examples=20)
@given(st.data())
def test_a_file_cut_anywhere_is_refused_by_name(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        usual = dict(model=network_of((2, 2)), images=unit_images(2, (2, 2)), path=path, **QUIET)
        sensitivity_map(**usual)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(ValueError, match="is no file of such a map"): sensitivity_map(**usual)


def test_pictures_have_one_scale_and_names_as_they_are_written():
    maps = {name: sensitivity_map(network_of(), unit_images(), wave=name, **QUIET) for name in ("unit", "sign")}
    figure = plot_sensitivity(maps | {"$a_1$": maps["unit"]})
    panels = figure.axes[:3]
    assert [ax.get_title() for ax in panels] == ["unit", "sign", "$a_1$"]
    assert len({ax.images[0].get_clim() for ax in panels}) == 1
    drawn = torch.as_tensor(np.asarray(panels[1].images[0].get_array()))
    assert torch.equal(drawn, torch.fft.fftshift(maps["sign"].share))
    left, right, bottom, top = panels[0].images[0].get_extent()
    assert math.isclose(left, -0.5) and math.isclose(right, 0.5)
    assert math.isclose(top, -7 / 12, rel_tol=1e-6) and bottom > 0  # float32


def test_a_network_without_slopes_has_a_map_and_no_attack():
    "The same network behind numpy, quietly or not: the same map to the last answer; what goes by slopes refuses it."
    network, images = network_of(), unit_images()

    def quietly(x):
        with torch.no_grad(): return torch.from_numpy(network(x).numpy())

    def loudly(x): return network(torch.from_numpy(x.numpy()))  # numpy() fails where slopes are asked for

    given = dict(grid=5, progress=False)
    plain = sensitivity_map(network, images, **given)
    for behind_numpy in (quietly, loudly):
        assert torch.equal(sensitivity_map(behind_numpy, images, **given).share, plain.share)
        with pytest.raises(ValueError, match="model must pass gradients on to its images"):
            band_attack(behind_numpy, images, "predicted", torch.ones(6, 5), basis="fourier", steps=1)
        with pytest.raises(ValueError, match="model must pass gradients on to its images"):
            learn_image_masks(behind_numpy, images, progress=False)
        asked = diagnose({"mine": behind_numpy}, images, only=["filters", "bands", "attacks", "blur"], rings=2)
        assert [*asked.answers] == ["filters"] and {*asked.left_out} == {"bands", "attacks", "blur"}
        assert all("model must pass gradients on" in why for why in asked.left_out.values())
