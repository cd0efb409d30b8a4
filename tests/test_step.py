"A step's exactness, by its own certificate and by scipy; scales, ends of ranges, and numbers that are none."
import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st

from fourier_mask.goal import KNEE, cost, cost_slope
from fourier_mask.step import ends_of, step_for_many, step_for_one


def drawn(b, m, scale=1.0, weight=0.2, residual=0.5, seed=0, dtype=torch.float64):
    "Residuals, slopes, pull and a mask."
    generator = torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
    slopes = scale * (2 * random(b, m) - 1) * random(m) ** 3  # a few entries matter
    values = residual * (2 * random(b) - 1), slopes, weight / m * (0.5 + random(m)), random(m)
    return tuple(value.to(dtype) for value in values)


def objective(residual, slopes, pull, step):
    return (cost(residual + slopes @ step).mean() + pull @ step).item()


def gap(residual, slopes, pull, theta, radius, step):
    "By how much the best step can be lower at most: a convex function lies above its tangent."
    slope = cost_slope(residual + slopes @ step) @ slopes / len(residual) + pull
    down, up = (ends[0] for ends in ends_of(theta[None], torch.tensor([radius], dtype=theta.dtype)))
    assert (step >= down - 1e-9).all() and (step <= up + 1e-9).all()  # rounding of a sum and a difference
    return (slope @ (step - torch.where(slope > 0, down, up))).item()


def alone(residual, slopes, pull, theta, radius):
    given_ = residual, slopes, pull[None], theta[None], torch.tensor([radius], dtype=theta.dtype)
    return step_for_one(*given_)[0]


@given(st.integers(1, 40), st.sampled_from([1e-4, 0.1, 1.0, 30.0]), st.sampled_from([0.0, 1e-6, 0.07, 5.0]),
       st.sampled_from([0.0, 0.01, 2.0, 50.0]), st.sampled_from([0.01, 0.2, 1.0]), st.integers(0, 3))
def test_the_step_for_one_image_is_the_best_there_is(m, scale, weight, residual, radius, seed):
    "Its certificate of optimality in double precision, over ten orders of magnitude."
    given_ = drawn(1, m, scale, weight, residual, seed)
    step = alone(*given_, radius)
    gained = objective(*given_[:3], 0 * step) - objective(*given_[:3], step)
    assert gained >= -1e-9
    # 40 halvings of a multiplier that runs to 7e7: 1e-10 of it; what is not gained is below that, or a millionth
    assert gap(*given_, radius, step) <= 1e-6 * gained + 1e-8


@given(st.integers(1, 12), st.integers(1, 30), st.sampled_from([0.1, 1.0, 4.0]), st.sampled_from([0.01, 0.07, 1.0]),
       st.sampled_from([0.0, 0.1, 1.0]), st.integers(0, 3))
def test_the_step_for_many_images_keeps_what_it_promises(b, m, scale, weight, residual, seed):
    given_ = drawn(b, m, scale, weight, residual, seed)
    step = step_for_many(*given_, torch.tensor(0.2, dtype=torch.float64))
    gained = objective(*given_[:3], 0 * step) - objective(*given_[:3], step)
    assert gained >= 0 and gap(*given_, 0.2, step) <= 0.0101 * gained + 1e-12  # a hundredth is its own tolerance


@pytest.mark.parametrize("b", [1, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_scipy_finds_nothing_better(b, seed):
    given_ = drawn(b, 8, 3.0, 0.5, 1.5, seed)
    down, up = (ends[0].numpy() for ends in ends_of(given_[3][None], torch.tensor([0.3], dtype=torch.float64)))
    value = lambda step: objective(*given_[:3], torch.from_numpy(step))
    pushed = lambda step: cost_slope(given_[0] + given_[1] @ torch.from_numpy(step)) @ given_[1] / b
    slope = lambda step: (pushed(step) + given_[2]).numpy()
    theirs = scipy.optimize.minimize(value, np.zeros(8), jac=slope, bounds=list(zip(down, up, strict=True)),
                                     method="L-BFGS-B", options=dict(ftol=1e-15, gtol=1e-12))
    steps = [step_for_many(*given_, torch.tensor(0.3, dtype=torch.float64), iterations=9000, tolerance=1e-7)]
    if b == 1: steps.append(alone(*given_, 0.3))
    for step in steps: assert value(step.numpy()) <= theirs.fun + 1e-6 * abs(theirs.fun)


@pytest.mark.parametrize("residual", [0.0, 0.3, -1.0])
def test_both_ways_agree_on_one_image(residual):
    given_ = list(drawn(1, 25, 2.0, 0.3))
    given_[0] = torch.tensor([residual], dtype=torch.float64)
    values = [objective(*given_[:3], step) for step in (
        alone(*given_, 0.2),
        step_for_many(*given_, torch.tensor(0.2, dtype=torch.float64), iterations=5000, tolerance=1e-6))]
    assert values[0] <= values[1] + 1e-12 and values[0] == pytest.approx(values[1], rel=1e-4)  # the gap asked for


@pytest.mark.parametrize("m", [50, 25_090], ids=["small", "224 × 224"])
@pytest.mark.parametrize("weight", [1e-5, 0.2])
def test_a_shared_step_does_not_depend_on_the_scale_of_the_penalty(m, weight):
    "At a mask of ones residuals are zero, and an entry's pull is weight / m: a step of 1e-5 was once taken for none."
    residual, slopes, pull, _ = drawn(6, m, 0.01 * weight, weight, 0.0, dtype=torch.float32)
    step = step_for_many(residual, slopes, pull, torch.ones(m), torch.tensor(0.2))
    gained = -objective(residual, slopes, pull, step)
    assert gained > 0.9 * 0.2 * pull.sum()  # slopes so small that all entries can go down by all of the radius


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e8])
def test_past_the_knee_a_step_still_goes_the_right_way(scale):
    "Single precision, residuals up to ten million times the knee."
    for sign in (1, -1):
        residual = torch.tensor([sign * KNEE * scale])
        slopes, pull, theta = torch.tensor([[1.0, -1.0, 0.0]]), torch.full((3,), 0.02), torch.full((3,), 0.5)
        many = step_for_many(residual, slopes, pull, theta, torch.tensor(0.2), tolerance=1e-4)
        for step in (alone(residual, slopes, pull, theta, 0.2), many):
            assert step.isfinite().all()
            torch.testing.assert_close(step[:2], torch.tensor([-0.2, 0.2]) * sign, rtol=0, atol=1e-3)


def test_with_nothing_to_gain_nothing_moves_and_with_no_slope_all_go_down():
    zero, flat = torch.zeros(1), torch.zeros(1, 4)
    theta, pull = torch.tensor([0.0, 0.1, 0.5, 1.0]), torch.full((4,), 0.1)
    down = torch.tensor([0.0, -0.1, -0.2, -0.2])
    torch.testing.assert_close(alone(zero, flat, pull, theta, 0.2), down)
    torch.testing.assert_close(step_for_many(zero, flat, pull, theta, torch.tensor(0.2)), down)
    assert step_for_many(zero, flat, 0 * pull, theta, torch.tensor(0.2)).abs().max() == 0  # λ = 0, and no residual
    steep = torch.tensor([[1.0, -2.0, 3.0, -4.0]])
    assert abs(alone(zero, steep, 0 * pull, theta, 0.2) @ steep[0]) < 1e-6  # may move, but not the residual


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["residual", "slopes"])
def test_numbers_that_are_none_do_not_hang_a_step(bad, where):
    "A loop that waited for a promise to hold would wait for ever."
    residual, slopes, pull, theta = drawn(3, 5)
    (residual if where == "residual" else slopes)[0] = bad
    step = step_for_many(residual, slopes, pull, theta, torch.tensor(0.2, dtype=torch.float64))
    assert step.shape == theta.shape


def test_masks_of_a_batch_take_the_steps_they_take_alone():
    residual, slopes, pull, _ = drawn(7, 20, 2.0, 0.3, 1.0, dtype=torch.float32)
    theta = torch.rand(7, 20, generator=torch.Generator().manual_seed(1))
    radius = torch.linspace(0.05, 0.4, 7)
    together = step_for_one(residual, slopes, pull.expand(7, -1), theta, radius)
    for i in range(7):
        row = slice(i, i + 1)
        by_itself = step_for_one(residual[row], slopes[row], pull[None], theta[row], radius[row])[0]
        assert torch.equal(by_itself, together[i])
