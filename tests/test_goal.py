"Costs, losses and goals against plain formulas; goals that are reached and goals that cannot be."
import functools
import math

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import small_images, small_network

from fourier_mask.goal import (
    KNEE,
    Change,
    Keep,
    cost,
    cost_slope,
    cross_entropy,
    goal_from,
    invariance,
    kullback_leibler,
    loss_from,
    loss_of,
    loss_settings,
    squared_error,
)
from fourier_mask.learn import learn_image_masks
from fourier_mask.mask_set import MaskSet

logits = st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=2, max_size=4)


def table(values): return torch.tensor(values, dtype=torch.float64)


@given(st.floats(-1e30, 1e30))
def test_the_cost_is_the_papers_below_the_knee_and_its_tangent_above(d):
    residual = torch.tensor(d, dtype=torch.float64, requires_grad=True)
    near = min(abs(d), KNEE)
    expected = math.expm1(near**2) + 2 * KNEE * math.exp(KNEE**2) * max(abs(d) - KNEE, 0)
    assert cost(residual).item() == pytest.approx(expected, rel=1e-12)
    slope, = torch.autograd.grad(cost(residual), residual)
    assert slope.item() == pytest.approx(cost_slope(residual.detach()).item(), rel=1e-12)
    assert slope.item() == pytest.approx(math.copysign(2 * near * math.exp(near**2), d), rel=1e-12)


@pytest.mark.parametrize("difference", [0.0, 1e-4, 0.3, KNEE, 9.5, 100.0, 1e6])
def test_in_single_precision_the_cost_is_finite_and_keeps_its_small_values(difference):
    d = torch.tensor([difference, -difference])
    value = cost(d)
    assert value.isfinite().all() and cost_slope(d).isfinite().all() and value[0] == value[1]
    assert (invariance(d, torch.zeros(2)) >= 1).all()
    below = torch.tensor(math.expm1(min(difference, KNEE) ** 2)).double()
    if difference < KNEE: torch.testing.assert_close(value[0].double(), below,
                                                     rtol=1e-5, atol=0)  # float32: exp of 16 has that much


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=30))
def test_the_cost_is_convex(points):
    ordered = torch.tensor(sorted(points), dtype=torch.float64)
    assert (cost_slope(ordered).diff() >= 0).all()


@given(logits, logits)
def test_losses_are_scipys_and_numpys(out, clean):
    n = min(len(out), len(clean))
    out, clean, y = table(out[:n]), table(clean[:n]), torch.arange(n) % 3
    p, q = scipy.special.softmax(clean.numpy(), 1), scipy.special.softmax(out.numpy(), 1)
    np.testing.assert_allclose(cross_entropy(out, clean, y), -np.log(q[np.arange(n), y.numpy()]), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(kullback_leibler(out, clean, y), scipy.special.rel_entr(p, q).sum(1), rtol=1e-6,
                               atol=1e-12)  # a sum whose terms cancel
    np.testing.assert_allclose(squared_error(out, clean, None), ((out - clean).numpy() ** 2).mean(1))
    np.testing.assert_allclose(squared_error(out, clean, clean), ((out - clean).numpy() ** 2).mean(1))


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 2, 3, 3)])
def test_squared_error_takes_outputs_of_any_shape(shape):
    out = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(squared_error(out + 2, out, None), torch.full((4,), 4.0))
    torch.testing.assert_close(squared_error(out + 2, 0 * out, out), torch.full((4,), 4.0))


@given(logits, st.sampled_from([None, 0, 2]), st.floats(0, 2))
def test_change_asks_for_the_lead_of_the_others(out, target, margin):
    clean = torch.zeros(len(out), 3, dtype=torch.float64)
    clean[:, 1] = 1
    goal, said = Change(target, margin), table(out)
    expected = []
    for row in out:
        others = max(value for i, value in enumerate(row) if i != (1 if target is None else target))
        lead = row[1] - others if target is None else others - row[target]
        expected.append(max(lead + margin, 0))
    np.testing.assert_allclose(goal.residual(said, clean, None, cross_entropy), expected, atol=1e-12)
    assert (goal.met(said, clean)[goal.residual(said, clean, None, cross_entropy) == 0] == 1).all() or margin == 0


def test_keep_is_the_difference_of_losses_and_counts_predictions():
    out, clean, y = table([[1, 2.0, 0], [0, 1, 3]]), table([[2, 1.0, 0], [0, 1, 2]]), torch.tensor([0, 2])
    expected = scipy.special.logsumexp(out.numpy(), 1) - [1, 3] - (scipy.special.logsumexp(clean.numpy(), 1) - [2, 2])
    np.testing.assert_allclose(Keep().residual(out, clean, y, cross_entropy), expected, rtol=1e-12)
    assert Keep().met(out, clean).tolist() == [0, 1] and Keep().met(out[:, 0], clean[:, 0]).isnan().all()


@pytest.mark.parametrize("labels", [torch.int64, torch.int32, torch.uint8])
def test_labels_may_be_whole_numbers_of_any_kind(labels):
    out = table([[1, 2.0, 0], [0, 1, 3]])
    torch.testing.assert_close(cross_entropy(out, out, torch.tensor([0, 2]).to(labels)),
                               cross_entropy(out, out, torch.tensor([0, 2])))


@pytest.mark.parametrize("loss", [
    lambda out, clean, y: out.mean(), lambda out, clean, y: out, lambda out, clean, y: out[:1, 0], lambda *given: 0.0,
])
def test_a_loss_of_wrong_shape_is_refused(loss):
    with pytest.raises(ValueError, match="loss must return one number an image"):
        loss_of(loss, torch.zeros(3, 2), torch.zeros(3, 2), None)
    with pytest.raises(ValueError, match="loss must return one number an image"):
        learn_image_masks(lambda x: x.flatten(1)[:, :2], torch.ones(3, 1, 2, 2), loss=loss, progress=False)


def test_a_loss_that_passes_no_gradient_is_refused():
    model, (x, _) = small_network(), small_images()
    with pytest.raises(ValueError, match="loss must pass gradients on to the outputs"):
        learn_image_masks(model, x, loss=lambda out, clean, y: (out.detach() - clean).square().mean(1), progress=False)


@pytest.mark.parametrize("given", [
    dict(target=1.5), dict(target=True), dict(target=-1), dict(target="1"), dict(margin=-1), dict(margin=math.nan),
    dict(margin="a"),
])
def test_a_change_to_nothing_is_refused(given, annotations_off):
    with pytest.raises(ValueError, match=f"{next(iter(given))} must be"): Change(**given)


def scaled(k): return lambda out, clean, y: k * (out - clean).square().sum(1)


class Scaled(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k

    def forward(self, out, clean, y): return self.k * (out - clean).square().sum(1)


def by_argument(k): return lambda out, clean, y, k=k: k * (out - clean).square().sum(1)


def partly(k): return functools.partial(lambda k, out, clean, y: k * (out - clean).square().sum(1), k)


@pytest.mark.parametrize("made", [scaled, by_argument, Scaled, partly])
def test_what_a_loss_takes_from_around_it_is_part_of_what_it_is(made):
    "A closure, a default, a module's number, an argument given before: the code is the same, what it computes is not."
    assert loss_settings(made(1.0)) == loss_settings(made(1.0)) != loss_settings(made(50.0))


def test_losses_of_one_name_are_told_apart_by_what_they_do():
    "Sets that were learned with either are not joined; a copy of a function, wherever it stands, is the same."
    model, (x, _) = small_network(), small_images(4)
    losses = [lambda out, clean, y: (out - clean).square().mean(1), lambda out, clean, y: (out - clean).abs().mean(1),
              lambda out, clean, y: (out - clean).square().mean(1)]
    squared, absolute, again = (learn_image_masks(model, x, loss=loss, progress=False) for loss in losses)
    assert len(MaskSet.join([squared, again])) == 8
    with pytest.raises(ValueError, match="learned alike to be joined; loss.code is"): MaskSet.join([squared, absolute])


@pytest.mark.parametrize(("call", "message"), [
    (lambda: goal_from("flip"), "goal must be one of keep, change"),
    (lambda: loss_from("hinge"), "loss must be one of cross_entropy, kullback_leibler, squared_error"),
    (lambda: Change().residual(torch.zeros(2, 1), torch.zeros(2, 1), None, cross_entropy), "at least two classes"),
    (lambda: squared_error(torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4)), "shape .4, 3. for squared_error"),
])
def test_what_is_no_goal_or_loss_is_refused(call, message):
    with pytest.raises(ValueError, match=message): call()


LINE = torch.arange(16.0)
WAVE = torch.cos(2 * math.pi * 3 * LINE / 16).expand(16, 16)


def reads_the_wave(x):
    "Class 1 if three cycles across are there, else class 0; class 2 never."
    found = (x[:, 0] * WAVE).mean((1, 2))
    return torch.stack([0.25 - found, found - 0.25, 0 * found - 1], 1) * 8


def noisy(strength, n=3):
    noise = torch.randn(n, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return 0.3 * noise + strength * WAVE


def test_a_change_that_can_be_reached_is_and_takes_the_planted_orbit_alone():
    masks = learn_image_masks(reads_the_wave, noisy(1), part="rest", goal="change", progress=False)
    assert masks.reached.all() and not masks.prediction_kept.any() and masks.converged.all()
    rest = masks.masks.clone()
    rest[:, 0, 0, [3, 13]] = 0
    assert (masks.masks[:, 0, 0, 3] > 0.3).all() and rest.max() == 0
    named = learn_image_masks(reads_the_wave, noisy(1), part="rest", goal=Change(target=0), progress=False)
    torch.testing.assert_close(named.masks, masks.masks, rtol=0, atol=0.05)  # two classes matter: one question


@pytest.mark.parametrize(("goal", "strength"), [("change", 0.0), (Change(target=2), 1.0)], ids=["no wave", "class 2"])
def test_a_change_that_cannot_be_reached_says_so(goal, strength):
    "Nothing can be taken away that would make a wave; class 2 never leads."
    with pytest.warns(UserWarning, match="3 of 3 masks do not reach their goal"):
        masks = learn_image_masks(reads_the_wave, noisy(strength), part="rest", goal=goal, progress=False)
    assert not masks.reached.any() and masks.masks.isfinite().all() and masks.objective.isfinite().all()


@pytest.mark.parametrize(("goal", "message"), [
    (Change(target=1), "target 1 is what the network says already of 3 of 3"), (Change(target=3), "target must lie in"),
])
def test_a_target_that_is_none_is_refused(goal, message):
    with pytest.raises(ValueError, match=message):
        learn_image_masks(reads_the_wave, noisy(1), goal=goal, batch_size=3, progress=False)


@pytest.mark.parametrize("model", [lambda x: x.flatten(1).sum(1), lambda x: x.flatten(1).sum(1, keepdim=True)])
def test_change_needs_classes(model):
    for goal in (Change(), Change(target=0)):
        with pytest.raises(ValueError, match="Change needs logits"):
            learn_image_masks(model, noisy(1), goal=goal, loss="squared_error", progress=False)
