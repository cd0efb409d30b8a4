"Parts: the identity at a full mask, what stays as it was, slopes, and what is refused."
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_basis import every, images

from fourier_mask.basis import Cosine, RealFourier
from fourier_mask.form import Layout
from fourier_mask.learn import learn_image_masks
from fourier_mask.part import Amplitude, Filter, Phase, Rest, mean_amplitude, part_from

spaces = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)
EXACT = dict(rtol=0, atol=1e-10)  # double precision, values near 1; a phase divides by a length of at least 1e-4
SINGLE = dict(rtol=0, atol=1e-5)  # a reference phase is kept in single precision, and so are those of pairs


def parts_of(basis, x):
    "Every part that a basis carries."
    parts = [Filter(), Amplitude(), Amplitude(mean_amplitude(basis, x))]
    return parts + ([Phase(basis), Phase(basis, x[1], seed=3)] if isinstance(basis, RealFourier) else [])


def random_mask(basis, b, channels=1, seed=0):
    layout = Layout(basis)
    generator = torch.Generator().manual_seed(seed)
    return layout.entries(torch.rand(b, channels, len(layout), generator=generator, dtype=torch.float64))


@given(spaces)
def test_a_full_mask_leaves_the_image_and_an_empty_one_of_the_rest_too(space):
    x = images(space)
    for basis in every(space):
        X, ones = basis(x), torch.ones(2, 1, *basis.orbits.shape, dtype=torch.float64)
        for part in parts_of(basis, x):
            torch.testing.assert_close(basis.inverse(part(X, ones)), x, **EXACT)
            torch.testing.assert_close(basis.inverse(Rest(part)(X, 0 * ones)), x, **EXACT)
            torch.testing.assert_close(Rest(Rest(part))(X, ones / 4), part(X, ones / 4), **EXACT)


@given(spaces, st.integers(0, 9))
def test_filtered_images_are_real_and_have_the_coefficients_that_the_part_gave(space, seed):
    "irfftn drops what does not belong to a real image; nothing may be dropped."
    x = images(space)
    basis = RealFourier(space)
    X, m = basis(x), random_mask(basis, 2, seed=seed)
    for part in parts_of(basis, x):
        given_ = part(X, m)
        torch.testing.assert_close(basis(basis.inverse(given_)), given_, **SINGLE)


@given(spaces, st.integers(0, 9))
def test_amplitude_leaves_phases_and_phase_leaves_amplitudes(space, seed):
    x, basis = images(space), RealFourier(space)
    X, m = basis(x), random_mask(basis, 2, seed=seed)
    reference = mean_amplitude(basis, x)
    changed = Amplitude(reference)(X, m).numpy()
    expected = m.numpy() * np.abs(X.numpy()) + (1 - m.numpy()) * reference.numpy()
    np.testing.assert_allclose(changed, expected * np.exp(1j * np.angle(X.numpy())), atol=1e-10)  # as in EXACT
    torch.testing.assert_close(Phase(basis)(X, m).abs(), X.abs(), **EXACT)
    torch.testing.assert_close(Amplitude()(X, m), Filter()(X, m), **EXACT)


def test_at_an_empty_mask_the_reference_is_all_there_is():
    x, basis = images((6, 5)), RealFourier((6, 5))
    X, none = basis(x), torch.zeros(2, 1, *basis.orbits.shape, dtype=torch.float64)
    torch.testing.assert_close(Phase(basis, x[1])(X, none).sgn(), basis(x[1:]).sgn().expand_as(X), **SINGLE)
    torch.testing.assert_close(Amplitude(mean_amplitude(basis, x))(X, none).abs(), X.abs().mean(0).expand_as(X))
    assert Filter()(X, none).abs().max() == 0


@pytest.mark.parametrize("kind", ["filter", "amplitude", "phase", "rest"])
def test_slopes_are_right(kind):
    x, basis = images((3, 4)), RealFourier((3, 4))
    part, X = part_from(kind, basis), basis(images((3, 4)))
    generator = torch.Generator().manual_seed(0)
    theta = 0.1 + 0.8 * torch.rand(2, 2, len(basis.counts), dtype=torch.float64, generator=generator)
    act = lambda theta: basis.inverse(part(X, Layout(basis).entries(theta)))
    assert torch.autograd.gradcheck(act, theta.requires_grad_()) and x.shape == act(theta).shape


@pytest.mark.parametrize("m", [0.0, 0.5, 0.5 + 1e-6, 1.0])
def test_opposite_phases_and_empty_coefficients_are_safe(m):
    "Half-way between a phase and its opposite there is none; an image of zeros has none anywhere."
    basis = RealFourier((4, 4))
    x = images((4, 4), b=1, c=1)
    for part, image in ((Phase(basis, -x[0]), x), (Phase(basis), 0 * x), (Amplitude(basis(x)[0].abs()), 0 * x)):
        mask = torch.full((1, 1, *basis.orbits.shape), m, dtype=torch.float64, requires_grad=True)
        changed = part(basis(image), mask)
        slope, = torch.autograd.grad(basis.inverse(changed).square().sum(), mask)
        assert changed.isfinite().all() and slope.isfinite().all()
        torch.testing.assert_close(changed.abs(), basis(image).abs(), **EXACT)


def test_noise_is_drawn_by_its_seed_and_the_worlds_own_is_left():
    basis, state = RealFourier((5, 4)), torch.get_rng_state()
    first, again, other = (Phase(basis, seed=seed).reference for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Amplitude(torch.tensor([-1.0])), "amplitudes, real and at least 0"),
    (lambda: Amplitude(torch.tensor([float("nan")])), "amplitudes, real and at least 0"),
    (lambda: Amplitude(torch.tensor([1j])), "amplitudes, real and at least 0"),
    (lambda: Phase(Cosine((4, 4))), "basis of complex coefficients"),
    (lambda: part_from("colour", RealFourier((4, 4))), "part must be one of filter, amplitude, phase, rest"),
])
def test_what_is_no_part_is_refused(make, message):
    with pytest.raises(ValueError, match=message): make()


@pytest.mark.parametrize("part", ["filter", "amplitude", "phase"])
def test_each_part_finds_the_planted_orbit(part):
    "Logits that read the real part of one coefficient; its phase matters as much as its size."
    columns = torch.arange(8.0, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * 2 * columns / 8).expand(8, 8)

    def reads_the_wave(x):
        found = (x[:, 0] * wave).mean((1, 2))
        return torch.stack([0.2 - found, found - 0.2], 1) * 8

    x = 0.3 * images((8, 8), b=3, c=1) + wave
    basis = RealFourier((8, 8))
    chosen = Phase(basis, -wave[None].float()) if part == "phase" else part  # at m = 0 the wave is upside down
    masks = learn_image_masks(reads_the_wave, x, part=chosen, weight=0.02, progress=False)
    rest = masks.masks.clone()
    rest[:, 0, 0, [2, 6]] = 0
    assert (masks.masks[:, 0, 0, 2] > 0.3).all() and rest.max() < 0.01 and masks.prediction_kept.all()
