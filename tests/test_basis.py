"Bases: there and back, scipy and numpy as oracles, planted functions that masks must find, and what is refused."
import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from fourier_mask import spectrum
from fourier_mask.basis import (
    Cosine,
    Linear,
    RealFourier,
    Wavelet,
    basis_from,
    check_basis,
    check_orthonormal,
    principal_components,
    wavelet_matrix,
)
from fourier_mask.learn import learn_image_masks

spaces = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)
EXACT = dict(rtol=0, atol=1e-11)  # double precision, values near 1, sums of at most 216 terms


def rotation(d, seed=0):
    "A random orthonormal matrix."
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q


def images(space, b=2, c=2, seed=0):
    return torch.randn(b, c, *space, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def every(space):
    return [RealFourier(space), Cosine(space), Linear(rotation(math.prod(space)), space)]


@given(spaces)
def test_images_go_there_and_back_in_every_basis(space):
    x = images(space)
    for basis in every(space):
        torch.testing.assert_close(basis.inverse(basis(x)), x, **EXACT)
        values = torch.rand(2, len(basis.counts), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(basis.orbit_values(basis.full(values)), values, **EXACT)
        assert basis.counts.sum() == math.prod(space) and basis.full(values).shape == (2, *space)
        assert sorted(basis.full_orbits.unique().tolist()) == list(range(len(basis.counts)))
        check_basis(basis, x.float())


@given(spaces)
def test_energy_is_kept(space):
    "Parseval: an orthonormal basis, and numpy's Fourier transform divided by the root of the pixels."
    x = images(space)
    for basis in every(space)[1:]:
        torch.testing.assert_close(basis(x).square().flatten(1).sum(1), x.square().flatten(1).sum(1))
    fourier = RealFourier(space)
    power = fourier(x).abs().square() / math.prod(space)
    stored = torch.bincount(fourier.orbits.flatten(), minlength=len(fourier.counts))  # some orbits are stored twice
    energy = (power * (fourier.counts / stored)[fourier.orbits]).flatten(1).sum(1)
    torch.testing.assert_close(energy, x.square().flatten(1).sum(1))


@given(spaces)
def test_an_orbit_is_an_entry_and_its_mirror_image(space):
    "By brute force over all entries."
    fourier, place = RealFourier(space), {}
    for entry in np.ndindex(*space):
        mirrored = tuple(-k % n for k, n in zip(entry, space, strict=True))
        place.setdefault(min(entry, mirrored), set()).add(int(fourier.full_orbits[entry]))
    assert all(len(orbits) == 1 for orbits in place.values()) and len(place) == len(fourier.counts)
    for first, (orbit,) in place.items():
        ours, theirs = fourier.frequencies()[orbit], [np.fft.fftfreq(n)[k] for n, k in zip(space, first, strict=True)]
        same = [np.allclose(ours, sign * np.array(theirs)) or np.allclose(ours % 1, (sign * np.array(theirs)) % 1)
                for sign in (1, -1)]
        assert any(same), (first, ours, theirs)


@given(spaces)
def test_cosines_are_scipys(space):
    x, axes = images(space), tuple(range(-len(space), 0))
    expected = scipy.fft.dctn(x.numpy(), axes=axes, norm="ortho")
    np.testing.assert_allclose(Cosine(space)(x).numpy(), expected, atol=1e-11)  # as in EXACT
    assert Cosine(space).frequencies().max() < 0.5


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("wavelet", ["haar", "db2"])
def test_wavelets_are_orthonormal_and_the_coarsest_come_first(wavelet, levels):
    pytest.importorskip("ptwt", reason="the extra wavelets is not installed")
    matrix = wavelet_matrix(16, wavelet, levels)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(16, dtype=torch.float64), rtol=0, atol=1e-6)  # boundaries
    constant = matrix @ torch.ones(16, dtype=torch.float64) / 4
    coarse = 16 // 2**levels
    assert constant[:coarse].square().sum() > (0.99 if wavelet == "haar" else 0.5)
    basis = Wavelet((16, 8), wavelet, levels)
    torch.testing.assert_close(basis.inverse(basis(images((16, 8)))), images((16, 8)), rtol=0, atol=1e-6)


def test_what_wavelets_need_is_told(monkeypatch):
    monkeypatch.setattr(spectrum, "find_spec", lambda name: None)
    for ask in (lambda: Wavelet((8, 8)), lambda: basis_from("wavelet", (8, 8))):
        with pytest.raises(ValueError, match=r"pip install 'fourier_mask\[wavelets\]'"): ask()
    with pytest.raises(ValueError, match=r"divisible by 2\*\*levels = 8"): Wavelet((12,), levels=3)


def test_a_linear_basis_is_its_matrix_and_components_are_those_of_numpy():
    matrix, x = rotation(12), images((3, 4))
    coefficients = Linear(matrix, (3, 4))(x)
    np.testing.assert_allclose(coefficients.numpy(), x.flatten(2).numpy() @ matrix.numpy().T, atol=1e-12)
    many = images((3, 4), b=40).float() * torch.linspace(0.2, 3, 4)
    rows = many.flatten(2).flatten(0, 1).double().numpy()
    energy = principal_components(many)(many).square().mean((0, 1))
    strongest = np.linalg.svd(rows, compute_uv=False) ** 2 / len(rows)  # of the second moment, in descending order
    np.testing.assert_allclose(energy.numpy(), strongest, rtol=0.02)  # ours divides by one less, of 80


FUNCTIONS = {
    "fourier": (RealFourier((8, 8)), 5),
    "fourier, a signal": (RealFourier((9,)), 3),
    "fourier, a volume": (RealFourier((4, 3, 5)), 7),
    "cosine": (Cosine((8, 7)), 11),
    "linear": (Linear(rotation(30), (5, 6)), 17),
    "wavelet": (None, 9),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_mask_is_the_planted_function_in_every_basis(name):
    "Logits that read one function of the basis: the mask holds its orbit and no other, on noise in all of them."
    basis, orbit = FUNCTIONS[name]
    if name == "wavelet":
        pytest.importorskip("ptwt", reason="the extra wavelets is not installed")
        basis = Wavelet((8, 4))
    planted = (basis.orbits == orbit).double()[None, None]
    pattern = basis.inverse(planted.to(torch.complex128) if isinstance(basis, RealFourier) else planted)[0]
    pattern = pattern / pattern.norm()

    def reads_it(x):
        found = (x * pattern).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(found), found], 1)

    x = 0.3 * images(basis.space, b=4, c=1) + 4 * pattern
    masks = learn_image_masks(reads_it, x, basis=basis, progress=False)
    values = basis.orbit_values(masks.masks[:, 0])
    assert (values[:, orbit] > 0.3).all() and masks.prediction_kept.all() and masks.converged.all()
    assert (values > 1e-3).sum(1).tolist() == [1] * 4  # noise in the others is nothing that the network reads


class Shrinking(RealFourier):
    def inverse(self, X): return 0.99 * super().inverse(X)


class Shifted(Cosine):
    def inverse(self, X): return super().inverse(X) + 0.1


@pytest.mark.parametrize(("basis", "message"), [
    (Shrinking((6, 5)), "inverse that gives images back"), (Shifted((6, 5)), "inverse that gives images back"),
    (RealFourier((5, 6)), r"of the images' size \(6, 5\)"),
])
@pytest.mark.parametrize("strength", [1.0, 0.0], ids=["noise", "zeros"])
def test_a_basis_that_does_not_give_images_back_is_refused(basis, message, strength):
    with pytest.raises(ValueError, match=message): check_basis(basis, strength * images((6, 5)).float())
    model = lambda x: x.flatten(1)[:, :3]
    with pytest.raises(ValueError, match=message):
        learn_image_masks(model, strength * images((6, 5)), basis=basis, progress=False)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Linear(torch.eye(5), (2, 3)), r"matrix must be \(6, 6\)"),
    (lambda: Linear(torch.ones(6, 6), (2, 3)), "orthonormal rows"),
    (lambda: Linear(torch.full((6, 6), math.nan), (2, 3)), "orthonormal rows"),
    (lambda: check_orthonormal(torch.ones(2, 3)), "must be square"),
    (lambda: RealFourier((0, 3)), "size must be"), (lambda: Cosine((2, 2, 2, 2)), "size must be"),
    (lambda: basis_from("hadamard", (2, 2)), "basis must be one of fourier, cosine, wavelet"),
    (lambda: Linear(torch.eye(6), (2, 3)).frequencies(), "has no frequencies"),
])
def test_what_is_no_basis_is_refused(annotations_off, make, message):
    with pytest.raises(ValueError, match=message): make()


def test_buffers_follow_the_device_and_the_state_has_none():
    "So that a checkpoint of a model with a basis in it holds the model alone."
    for basis in every((4, 3)):
        assert not basis.state_dict() and basis.to("meta").counts.device.type == "meta"
