"Properties of the Fourier plane over odd, even, non-square and one-pixel sizes."
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fourier_mask.mask import FourierMask
from fourier_mask.models import vgg11
from fourier_mask.spectrum import (
    CORNER_CYC,
    angle,
    angular_bands,
    band_energy,
    half_plane_counts,
    mirror,
    radial_bands,
    radius,
    symmetrize,
    to_full,
    to_half,
)

sides = st.integers(1, 12)
sizes = st.tuples(sides, sides)


def plane(size, seed=0): return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(sizes)
def test_mirror_is_the_index_minus_k(size):
    values, (h, w) = plane(size), size
    expected = torch.tensor([[values[-v % h, -u % w] for u in range(w)] for v in range(h)])
    assert torch.equal(mirror(values), expected)


@given(sizes)
def test_half_and_full_are_inverse_on_symmetric_planes(size):
    values = symmetrize(plane(size))
    torch.testing.assert_close(to_full(to_half(values), size), values)


@given(sizes)
def test_unfolding_agrees_with_what_irfft2_filters_with(size):
    half, x = plane((size[0], size[1] // 2 + 1)), plane(size, 1)
    full = torch.fft.ifft2(to_full(half, size) * torch.fft.fft2(x))
    torch.testing.assert_close(full.imag, torch.zeros(size, dtype=torch.float64))
    torch.testing.assert_close(torch.fft.irfft2(to_half(to_full(half, size)) * torch.fft.rfft2(x), s=size), full.real)


@given(sizes)
def test_counts_turn_a_half_plane_sum_into_the_full_one(size):
    values = symmetrize(plane(size))
    torch.testing.assert_close((to_half(values) * half_plane_counts(size)).sum(), values.sum())


@given(sizes, st.integers(1, 100))
def test_bands_are_partitions(size, n):
    for bands in (radial_bands(size, n), angular_bands(size, n)):
        assert bands.shape == size and bands.min() >= 0 and bands.max() < n
    edges = np.linspace(0, CORNER_CYC, n + 1)
    oracle = np.clip(np.searchsorted(edges, radius(size).numpy() + 1e-9, side="right") - 1, 0, n - 1)
    assert (radial_bands(size, n).numpy() == oracle).all()


@given(sizes)
def test_an_orbit_shares_its_radius_and_points_both_ways(size):
    r, phi = radius(size), angle(size)
    torch.testing.assert_close(mirror(r), r)
    v, u = (np.fft.fftfreq(n) for n in size)
    # half the sampling rate folds onto itself
    inner = torch.tensor((np.abs(v)[:, None] < 0.5) & (np.abs(u)[None] < 0.5))
    inner[0, 0] = False
    turned = (mirror(phi) - phi).remainder(2 * torch.pi)
    torch.testing.assert_close(turned[inner], torch.full_like(turned[inner], torch.pi))


@given(sizes, st.integers(1, 70))
def test_energies_of_a_partition_sum_to_one(size, n):
    mask = plane(size) + 0.1
    for bands in (radial_bands(size, n), angular_bands(size, n)):
        torch.testing.assert_close(band_energy(mask, bands, n).square().sum(), torch.tensor(1.0, dtype=torch.float64))


@given(sizes)
def test_a_flat_mask_is_flat_per_area(size):
    energy = band_energy(torch.ones(size), radial_bands(size, 5), 5, per_area=True)
    flat = energy[~energy.isnan()]
    torch.testing.assert_close(flat, flat[:1].expand_as(flat))


@pytest.mark.parametrize("size", [(0, 3), (3, -1)])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match="size must be"): half_plane_counts(size)


@pytest.mark.parametrize("slip", [2.0, True, math.inf, 0, "2", None])
@pytest.mark.parametrize(("name", "call"), [
    ("n", lambda n: radial_bands((4, 4), n)),
    ("n", lambda n: FourierMask((4, 4), n)),
    ("channels", lambda channels: FourierMask((4, 4), channels=channels)),
    ("classes", lambda classes: vgg11(classes)),
    ("size", lambda side: FourierMask((4, side))),
    ("size", lambda size: FourierMask(size)),
])
def test_what_is_no_whole_number_is_refused_by_name(name, call, slip, annotations_off):
    with pytest.raises(ValueError, match=f"^{name} must be .*whole number"): call(slip)
