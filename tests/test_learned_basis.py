"The learned basis: its operator, its step, and what it must beat."
import math

import pytest
import torch
from torch.testing import assert_close

from fourier_mask.basis import Cosine, Linear, RealFourier
from fourier_mask.dataset_mask import learn_dataset_mask
from fourier_mask.goal import KNEE, cost, cost_slope
from fourier_mask.learned_basis import (
    LearnedBasis,
    clamped,
    compare_bases,
    kept_of,
    learn_basis,
    moved,
    products,
    residuals_left,
    step_for_operator,
)


def draws(seed): return torch.Generator().manual_seed(seed)


def symmetric(d, seed):
    matrix = torch.randn(d, d, generator=draws(seed), dtype=torch.float64)
    return matrix + matrix.T


@pytest.fixture(scope="module")
def planted():
    "A network that reads two random directions of 5 × 7 pixels and two channels, images and labels."
    patterns = torch.randn(2, 35, generator=draws(0)) / 35**0.5
    labels = torch.arange(60) % 3
    shown = torch.cat([patterns, torch.zeros(1, 35)])[labels].view(-1, 1, 5, 7)
    images = shown + 0.1 * torch.randn(60, 2, 5, 7, generator=draws(1))

    def network(x):
        found = x.mean(1).flatten(1) @ patterns.T
        return torch.cat([found, 0.5 * torch.ones(len(x), 1)], 1) * 6

    return network, images, labels, patterns


@pytest.fixture(scope="module")
def learned(planted):
    network, images, labels, _ = planted
    return learn_basis(network, images, labels, progress=False)


@pytest.mark.parametrize("d", [1, 2, 9])
def test_clamped_is_the_nearest_operator(d):
    matrix = symmetric(d, d)
    nearest = clamped(matrix)
    values = torch.linalg.eigvalsh(nearest)
    assert values.min() > -1e-12 and values.max() < 1 + 1e-12
    assert_close(clamped(nearest), nearest)
    for seed in range(50):  # no random operator is nearer
        other = clamped(symmetric(d, 100 + seed))
        assert (matrix - nearest).norm() <= (matrix - other).norm() + 1e-12


@pytest.mark.parametrize("channels", [1, 3])
def test_products_are_those_of_slopes_by_autograd(channels):
    x, g = (torch.randn(4, channels, 6, generator=draws(seed), dtype=torch.float64) for seed in (0, 1))
    slopes = []
    for i in range(4):
        operator = torch.zeros(6, 6, dtype=torch.float64, requires_grad=True)
        slope, = torch.autograd.grad((g[i] * (x[i] @ (operator + operator.T) / 2)).sum(), operator)
        slopes.append(slope.flatten())
    slopes, change = torch.stack(slopes), symmetric(6, 2)
    assert_close(products(x, g), slopes @ slopes.T)
    assert_close(moved(change, x, g), slopes @ change.flatten())


@pytest.mark.parametrize("scale", [0.01, 1, 1e4])
def test_residuals_left_solve_their_equation(scale):
    rows = torch.randn(7, 3, generator=draws(0), dtype=torch.float64)
    kernel, target = scale * rows @ rows.T, torch.linspace(-2, 3, 7, dtype=torch.float64)
    left = residuals_left(torch.zeros(7, dtype=torch.float64), target, kernel, iterations=100, tolerance=1e-12)
    assert left.abs().max() <= KNEE
    assert_close(left + kernel @ cost_slope(left), target, rtol=0, atol=1e-6 * max(1, scale))


def test_a_step_cannot_be_bettered_by_any_other():
    d, weight, reach = 5, 0.2, 0.1
    x, g = (torch.randn(6, 2, d, generator=draws(seed), dtype=torch.float64) for seed in (3, 4))
    residual, operator = torch.randn(6, generator=draws(5), dtype=torch.float64) / 2, clamped(symmetric(d, 6))

    def value(change):
        fit = cost(residual + moved(change, x, g)).mean()
        return fit + weight / d * change.trace() + weight / (reach * d) / 2 * change.square().sum()

    step = step_for_operator(residual, x, g, operator, weight, reach, turns=500, tolerance=1e-9)
    for seed in range(200):  # convex: a better one anywhere would show nearby
        other = clamped(operator + step + 10 ** -(seed % 4) * symmetric(d, 100 + seed)) - operator
        assert value(step) <= value(other) + 1e-9


def test_the_span_of_what_a_network_reads_is_found(planted, learned):
    network, images, _, patterns = planted
    span = torch.linalg.qr(patterns.T).Q
    assert (learned.mask > 0.01).sum() == 2
    assert ((learned.basis.matrix[:2] @ span).square().sum(1) > 0.95).all()
    assert learned.converged and 0 < learned.sparsity < 2 / 35
    assert kept_of(network, learned.apply, images) == pytest.approx(learned.prediction_kept, abs=0.02)  # near-ties


@pytest.mark.parametrize("basis", [RealFourier, Cosine])
def test_no_fixed_basis_is_better(planted, learned, basis):
    network, images, labels, _ = planted
    fixed = learn_dataset_mask(network, images, labels, basis=basis((5, 7)), progress=False)
    assert learned.objective < fixed.objective.item()


def test_what_is_told_is_what_the_mask_does(planted, learned):
    network, images, labels, _ = planted
    loss = lambda x: torch.nn.functional.cross_entropy(network(x), labels, reduction="none")  # noqa: E731
    residual = loss(learned.apply(images)) - loss(images)
    assert learned.invariance == pytest.approx(torch.exp(residual**2).mean().item(), abs=1e-4)
    assert learned.sparsity == pytest.approx(learned.mask.mean().item(), abs=1e-5)
    assert learned.objective == pytest.approx(learned.invariance + 0.2 * learned.sparsity)
    along = learned.trace["invariance"] + 0.2 * learned.trace["sparsity"]
    assert (along.diff() < 0).all() and along[0] == pytest.approx(1.2)
    operator = learned.basis.matrix.T @ torch.diag(learned.mask) @ learned.basis.matrix
    assert_close(learned.apply(images).flatten(2), images.flatten(2) @ operator, rtol=0, atol=1e-5)


def test_gain_of_a_fourier_mask_is_the_mask():
    line = 2 * math.pi * torch.arange(8.0) / 8 + 0.3  # at any phase: only the span of an orbit counts
    waves = torch.stack([torch.cos(line), torch.sin(line)]) / 2
    matrix = torch.linalg.qr(torch.cat([waves, torch.randn(6, 8, generator=draws(0))]).T).Q.T
    told = dict(weight=1.0, invariance=1.0, sparsity=0.2, objective=1.2, prediction_kept=1.0, steps=1, converged=True)
    mask = torch.tensor([0.75, 0.75, 0, 0, 0, 0, 0, 0])
    learned = LearnedBasis(Linear(matrix.contiguous(), (8,)), mask, **told, trace={})
    assert_close(learned.gain(), torch.tensor([0, 0.75, 0, 0, 0, 0, 0, 0.75]), rtol=0, atol=1e-6)


def test_the_same_again_and_nothing_is_left_changed(planted):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(70, 3)).train()
    _, images, labels, _ = planted
    before = torch.random.get_rng_state()
    one, two = (learn_basis(model, images, labels, steps=3, progress=False) for _ in range(2))
    assert torch.equal(one.mask, two.mask) and torch.equal(torch.random.get_rng_state(), before)
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())


def test_bases_are_compared_on_the_same_images(planted):
    network, images, labels, _ = planted
    compared = compare_bases(network, images[:40], labels[:40], images[40:], steps=12, progress=False)
    assert list(compared.table.basis) == ["Fourier", "cosine", "principal", "learned"]
    assert compared.table.objective.iloc[-1] == pytest.approx(compared.learned.objective)
    assert compared.fourier.shape == (5, 7)
    assert compared.fourier.mean().item() == pytest.approx(compared.table["size"].iloc[0], abs=1e-5)
    assert compared.path["size"].iloc[-1] == pytest.approx(compared.learned.sparsity, abs=1e-5)


@pytest.mark.parametrize("change, told", [
    (dict(weight=0), "weight must be above 0"), (dict(weight=math.nan), "weight must be above 0"),
    (dict(steps=0), "steps must be a whole number"), (dict(steps=True), "steps must be a whole number"),
])
def test_what_cannot_be_learned_is_refused(planted, change, told):
    network, images, labels, _ = planted
    with pytest.raises(ValueError, match=told): learn_basis(network, images, labels, progress=False, **change)


def test_too_many_images_or_pixels_are_refused(planted):
    network = planted[0]
    with pytest.raises(ValueError, match="at most 4096 pixels"): learn_basis(network, torch.zeros(2, 1, 65, 64))
    with pytest.raises(ValueError, match="Take a sample"): learn_basis(network, torch.zeros(2049, 2, 5, 7))
