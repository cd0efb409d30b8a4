"Forms and layouts: each orbit in one band, the norm of the full plane, and masks that keep to their form."
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_basis import rotation

from fourier_mask.basis import Cosine, Linear, RealFourier
from fourier_mask.form import Free, Layout, Rings, RingsAndSectors, Sectors
from fourier_mask.learn import learn_image_masks
from fourier_mask.spectrum import mirror, radial_bands

spaces = st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple)
planes = st.tuples(st.integers(1, 7), st.integers(1, 7))
numbers = st.integers(1, 9)


def layouts(space, n=4):
    "Every form that a space carries, in every basis."
    forms = [Free(), Rings(n)] + ([Sectors(n), RingsAndSectors(n, 3)] if len(space) == 2 else [])
    bases = [RealFourier(space), Cosine(space)]
    rotated = Layout(Linear(rotation(math.prod(space)), space))
    return [Layout(basis, form) for basis in bases for form in forms] + [rotated]


def random(layout, n=2, channels=3, seed=0):
    return torch.rand(n, channels, len(layout), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(spaces, numbers)
def test_numbers_go_to_the_plane_and_come_back(space, n):
    for layout in layouts(space, n):
        theta = random(layout)
        plane = layout.full(theta)
        assert plane.shape == (2, 3, *space)
        torch.testing.assert_close(layout.values_of(plane), theta)
        torch.testing.assert_close(layout.entries(theta), plane_entries(layout, plane))
        assert abs(layout.share.sum() - 1) < 1e-6 and (layout.share > 0).all()  # float32; no band is empty


def plane_entries(layout, plane):
    "The plane at the stored coefficients: of Fourier its first columns, of the others all of it."
    if isinstance(layout.basis, RealFourier): return plane[..., : plane.shape[-1] // 2 + 1]
    return plane.reshape(*plane.shape[:2], *layout.basis.orbits.shape)


@given(spaces, st.sampled_from([1, 1.5, 2, 3, 40]))
def test_the_norm_is_that_of_the_full_plane(space, p):
    for layout in layouts(space):
        theta = random(layout)
        expected = np.mean(layout.full(theta).numpy() ** p, axis=tuple(range(1, 2 + len(space)))) ** (1 / p)
        np.testing.assert_allclose(layout.norm(theta, p).numpy(), expected, rtol=1e-6)  # shares are float32


@pytest.mark.parametrize("p", [1, 1.5, 2, 300])
def test_the_norm_of_an_empty_mask_and_of_one_is_safe_and_its_slope_finite(p):
    layout = Layout(RealFourier((5, 6)))
    for value in (0.0, 1e-30, 1.0):
        theta = torch.full((2, 1, len(layout)), value, requires_grad=True)
        norm = layout.norm(theta, p)
        slope, = torch.autograd.grad(norm.sum(), theta)
        torch.testing.assert_close(norm, torch.full((2,), value), rtol=1e-5, atol=0)  # float32, a power and a root
        assert slope.isfinite().all() and (slope >= 0).all()
        if value: torch.testing.assert_close(slope.sum((1, 2)), torch.ones(2))  # homogeneous of degree 1


@given(planes, numbers)
def test_rings_are_those_of_figure_4(space, n):
    "Two entries share a number exactly if they are in one ring."
    layout, rings = Layout(RealFourier(space), Rings(n)), radial_bands(space, n)
    mine = layout.bands[layout.basis.full_orbits]
    same, theirs = mine.flatten()[:, None] == mine.flatten(), rings.flatten()[:, None] == rings.flatten()
    assert torch.equal(same, theirs)


@given(planes, numbers)
def test_sectors_leave_zero_frequency_alone_and_count_half_turns(space, n):
    layout = Layout(RealFourier(space), Sectors(n))
    plane = layout.bands[layout.basis.full_orbits]
    assert torch.equal(plane, mirror(plane)) and (plane == plane[0, 0]).sum() == 1
    assert len(layout) <= n + 1
    v, u = (torch.fft.fftfreq(side, dtype=torch.float64) for side in space)
    for i in range(space[0]):
        for j in range(space[1]):  # twice as far out, the same direction
            if 2 * abs(v[i]) < 0.5 and 2 * abs(u[j]) < 0.5:
                assert plane[i, j] == plane[2 * i % space[0], 2 * j % space[1]]


def test_bands_of_both_are_the_pieces_that_both_cut():
    fourier = RealFourier((16, 16))
    rings, sectors, both = (Layout(fourier, form).bands for form in (Rings(3), Sectors(4), RingsAndSectors(3, 4)))
    pairs = torch.stack([rings, sectors], 1)
    assert len(pairs.unique(dim=0)) == len(both.unique())
    for band in both.unique(): assert len(pairs[both == band].unique(dim=0)) == 1


@pytest.mark.parametrize("basis", ["fourier", "cosine"])
@pytest.mark.parametrize("form", [Rings(3), Sectors(4), RingsAndSectors(2, 3)], ids=lambda form: type(form).__name__)
def test_learned_masks_keep_to_their_form(basis, form):
    x = torch.randn(3, 1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.randn(30, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    masks = learn_image_masks(lambda x: x.flatten(1) @ weights, x, basis=basis, form=form, weight=0.5, progress=False)
    layout = Layout({"fourier": RealFourier, "cosine": Cosine}[basis]((6, 5)), form)
    torch.testing.assert_close(layout.full(layout.values_of(masks.masks)), masks.masks)
    assert masks.settings["form"] == form.settings and masks.sparsity.max() < 1


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Rings(0), "n must be a whole number of bands"), (lambda: Rings(2.5), "n must be a whole number of bands"),
    (lambda: Sectors(True), "n must be a whole number of bands"),
])
def test_what_is_no_number_of_bands_is_refused(annotations_off, make, message):
    with pytest.raises(ValueError, match=message): Layout(RealFourier((4, 4)), make())


@pytest.mark.parametrize(("basis", "form", "message"), [
    (RealFourier((8,)), Sectors(), "two axes"), (RealFourier((4, 4, 4)), RingsAndSectors(), "two axes"),
    (Linear(torch.eye(4), (2, 2)), Rings(), "no frequencies"),
])
def test_a_form_that_a_basis_cannot_carry_is_refused(basis, form, message):
    with pytest.raises(ValueError, match=message): Layout(basis, form)
