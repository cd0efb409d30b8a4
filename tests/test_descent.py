"The loop: optima by brute force, what `converged` promises, norms and channels, independence, and the authors' pace."
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import AnyAnswer, authors_planes, filtered, orders
from small import small_images, small_network
from torch import nn

from fourier_mask.authors import AUTHORS_DATASET, AUTHORS_IMAGE, one_cycle, order_of
from fourier_mask.basis import Cosine, RealFourier
from fourier_mask.descent import Newton, Problem, State, descend, in_fours, linearised, mean_by_owner, measured
from fourier_mask.form import Layout
from fourier_mask.goal import cost, cross_entropy
from fourier_mask.part import Filter
from fourier_mask.prepare import prepared, source_of


def posed(ready, x, y, owner=None, weight=0.07, p=1, basis=None):
    "A problem and its source."
    basis = basis or RealFourier(tuple(x.shape[2:]))
    owner = torch.arange(len(x)) if owner is None else owner
    problem = Problem(ready, Layout(basis), Filter(), AnyAnswer(), cross_entropy, weight, p)
    return problem, source_of(ready, basis, x, y, owner)


def walked(model, x, y, pace=None, owner=None, n=None, channels=1, **given):
    "State, trace and problem after a walk from ones."
    with prepared(model, x) as ready:
        problem, source = posed(ready, x, y, owner, **given)
        n = len(x) if n is None else n
        theta = torch.ones(n, channels, len(problem.layout), dtype=source.clean.dtype)
        return *descend(problem, source, theta, pace or Newton()), problem


def linear(space, seed):
    "Two classes, the second a scalar product with the image."
    direction = torch.randn(1, *space, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def model(x):
        found = (x * direction).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(found), found], 1)

    return model, direction


def grid_minimum(pieces, weight, counts, sizes=None, p=1, points=81):
    "Least objective above 1 over a grid of masks; the logit is a sum over orbits, (images, orbits), which numpy knows."
    axis = np.linspace(0, 1, points)
    masks = np.array(list(itertools.product(axis, repeat=pieces.shape[1])))
    logits = masks @ pieces.T
    loss = lambda logit: np.logaddexp(0, -logit)  # of the second class
    change = loss(logits) - loss(pieces.sum(1))
    norm = ((masks**p * counts).sum(1) / counts.sum()) ** (1 / p)
    return (np.expm1(np.minimum(change**2, 50)).mean(1) + weight * norm).min()


def pieces_of(x, direction):
    "What each orbit of one axis contributes to the logit, by numpy's full transform."
    n = x.shape[-1]
    spectra = np.fft.fft(x[:, 0].numpy(), axis=1)
    pieces = []
    for k in range(n // 2 + 1):
        kept = np.isin(np.arange(n), [k, -k % n])
        pieces.append(np.fft.ifft(spectra * kept, axis=1).real @ direction[0].numpy())
    return np.stack(pieces, 1), np.array([len({k, -k % n}) for k in range(n // 2 + 1)])


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weight", [0.02, 0.3])
@pytest.mark.parametrize("n", [3, 4, 5])
def test_the_mask_of_an_image_is_the_best_of_all(n, weight, p):
    "Two or three orbits: a fine grid over all masks, in numpy."
    model, direction = linear((n,), n)
    x = torch.randn(6, 1, n, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    state, _, problem = walked(model, x, torch.ones(6, dtype=torch.long), weight=weight, p=p)
    pieces, counts = pieces_of(x, direction)
    best = [grid_minimum(piece[None], weight, counts, p=p) for piece in pieces]
    ours = objectives(problem, model, x, state.best)
    assert (ours <= np.array(best) * 1.02 + 1e-9).all(), ours / best  # settled: the next step would bring a hundredth


def objectives(problem, model, x, theta):
    "Above 1, on the full plane, for one mask an image or one for all."
    planes = problem.layout.full(theta)
    loss = lambda images: F.cross_entropy(model(images), torch.ones(len(x), dtype=torch.long), reduction="none")
    size = planes.pow(problem.p).mean(tuple(range(1, x.ndim))).pow(1 / problem.p)
    return (torch.expm1((loss(filtered(planes, x)) - loss(x)) ** 2) + problem.weight * size).numpy()


@pytest.mark.parametrize("weight", [0.02, 0.3])
@pytest.mark.parametrize("n", [3, 5])
def test_the_mask_of_many_images_is_the_best_of_all(n, weight):
    model, direction = linear((n,), n)
    x = torch.randn(7, 1, n, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    owner = torch.zeros(7, dtype=torch.long)
    state, _, problem = walked(model, x, torch.ones(7, dtype=torch.long), owner=owner, n=1, weight=weight)
    pieces, counts = pieces_of(x, direction)
    ours = objectives(problem, model, x, state.best).mean()
    assert ours <= grid_minimum(pieces, weight, counts) * 1.02  # as above, in each of two rules: step and stop


def relu_network(size=(6, 5), channels=1, classes=3, scale=1.0):
    "With kinks, and batch norms whose statistics are not trivial."
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                                nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                                nn.Linear(8 * size[0] * size[1], classes))
        for _ in range(20): network(torch.randn(32, channels, *size))
    network[-1].weight.data *= scale
    return network.eval()


def sure_images(model, n=12, size=(6, 5), channels=1, dtype=torch.float64):
    "Images about which a network is sure, and what it says: no mask worth having changes its answer."
    x = torch.randn(40 * n, channels, *size, generator=torch.Generator().manual_seed(3)).to(dtype)
    with torch.no_grad(): top = model(x).topk(2, 1).values
    rows = (top[:, 0] - top[:, 1]).argsort(descending=True)[:n]
    with torch.no_grad(): return x[rows], model(x[rows]).argmax(1)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("kind", ["smooth", "kinks"])
def test_converged_means_that_little_is_left_to_gain(kind, p):
    "After a mask has settled, fifty further steps bring less than a twentieth of what is left above 1."
    model = small_network() if kind == "smooth" else relu_network(scale=3.0).double()
    x, y = sure_images(model, 5)
    state, _, _ = walked(model, x, y, p=p, pace=Newton(steps=400))
    assert state.settled.all() and state.steps.max() < 400
    for i in range(len(x)):
        pace = Newton(steps=int(state.steps[i]) + 50, tolerance=-1.0)
        longer, _, _ = walked(model, x[i : i + 1], y[i : i + 1], pace, p=p)
        assert longer.best_value[0] > 0.95 * state.best_value[i], (i, longer.best_value, state.best_value[i])


def test_best_is_the_best_that_was_seen_and_the_trace_tells_what_was():
    model, (x, y) = small_network(), small_images()
    state, trace, problem = walked(model, x, y)
    values = trace[:, :, 0] + 0.07 * trace[:, :, 1]
    torch.testing.assert_close(state.best_value, values.nan_to_num(1e9).amin(0))  # nan where a mask had left
    with prepared(model, x) as ready:
        problem, source = posed(ready, x, y)
        residual, _ = measured(problem, source, state.best, 64)
    torch.testing.assert_close(cost(residual) + 0.07 * problem.layout.norm(state.best), state.best_value)
    assert (trace[0, :, 0] < 1e-12).all()  # the mask of ones, to rounding; shares are float32
    torch.testing.assert_close(trace[0, :, 1], torch.ones(12).double(), rtol=0, atol=1e-6)


def test_channels_weigh_the_penalty_as_the_full_planes_do():
    "A mask for each channel: a third of λ each, and what no channel is needed for goes."
    model = small_network(classes=2)
    both = lambda x: model(x[:, :1])  # reads the first channel alone
    x = sure_images(model)[0].repeat(1, 3, 1, 1)
    y = both(x).argmax(1)
    three, _, problem = walked(both, x, y, channels=3, weight=0.3)
    one, _, _ = walked(model, x[:, :1], y, weight=0.1)
    assert three.best[:, 1:].abs().max() < 1e-12  # rounding of 1 − 0.2 − 0.2 …
    torch.testing.assert_close(problem.layout.norm(three.best), three.best.mul(problem.layout.share).sum(2).mean(1))
    torch.testing.assert_close(three.best_value, one.best_value, rtol=0.02, atol=0)  # the same problem, settled


@pytest.mark.parametrize("shape", [(6, 5), (7,), (3, 4, 2)], ids=["image", "signal", "volume"])
@pytest.mark.parametrize("kind", [RealFourier, Cosine])
def test_slopes_are_those_of_each_image(kind, shape):
    "Against central differences, row by row."
    weights = torch.randn(int(np.prod(shape)), 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = lambda x: torch.tanh(x.flatten(1) @ weights)
    x = torch.randn(3, 1, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with prepared(model, x) as ready:
        problem, source = posed(ready, x, torch.tensor([0, 1, 2]), owner=torch.tensor([0, 0, 1]), basis=kind(shape))
        theta = 0.2 + 0.6 * torch.rand(2, 1, len(problem.layout), generator=torch.Generator().manual_seed(2)).double()
        residual, slopes, met = linearised(problem, source, theta, 2)
        for j in range(len(problem.layout)):
            up, down = theta.clone(), theta.clone()
            up[:, 0, j] += 1e-6
            down[:, 0, j] -= 1e-6
            difference = (measured(problem, source, up, 64)[0] - measured(problem, source, down, 64)[0]) / 2e-6
            torch.testing.assert_close(slopes[:, j], difference, rtol=1e-5, atol=1e-7)  # central differences of 1e-6
        assert len(residual) == len(met) == 3


def test_nothing_passes_between_owners():
    "Three masks that share nothing but a run, each of its own images, are those of three runs."
    model, (x, y) = small_network(), small_images(12)
    owner = torch.arange(12) % 3
    together, _, _ = walked(model, x, y, owner=owner, n=3)
    for i in range(3):
        mine = owner == i
        alone, _, _ = walked(model, x[mine], y[mine], owner=torch.zeros(4, dtype=torch.long), n=1)
        torch.testing.assert_close(alone.best_value[0], together.best_value[i], rtol=1e-6, atol=0)  # double precision
        torch.testing.assert_close(alone.best[0], together.best[i], rtol=0, atol=1e-4)


def test_how_often_it_looks_which_masks_are_done_changes_nothing():
    "On a GPU it looks every eighth step; a mask that is done before stands still until then."
    model, (x, y) = small_network(), small_images(11)
    with prepared(model, x) as ready:
        problem, source = posed(ready, x, y)
        theta, told = torch.ones(11, 1, len(problem.layout), dtype=torch.float64), []
        for look in (1, 7, 1000):
            told.append(0)
            tell = lambda left: told.append(told.pop() + len(left))
            state, _ = descend(problem, source, theta, Newton(), tell=tell, look=look)
            first = state if look == 1 else first
            for name in ("best", "best_value", "steps", "settled"):
                assert torch.equal(getattr(state, name), getattr(first, name)), (look, name)
    assert told == [11, 11, 11] and len(first.steps.unique()) > 1


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 11, 64])
def test_batches_have_the_size_that_was_asked_for_or_the_next_multiple_of_four(batch_size):
    inner, (x, y), seen = small_network(), small_images(11), []

    def model(x):
        seen.append(len(x))
        return inner(x)

    with prepared(model, x) as ready:
        problem, source = posed(ready, x, y)
        seen.clear()
        for fill in (True, False):
            linearised(problem, source, torch.ones(11, 1, len(problem.layout), dtype=torch.float64), batch_size, fill)
            assert sum(seen) == (12 if fill else 11) and max(seen) <= batch_size + (-batch_size % 4 if fill else 0)
            assert not fill or all(n % 4 == 0 for n in seen)
            seen.clear()
    assert [in_fours(torch.arange(n)).tolist() for n in (0, 1, 4, 6)] == [[], [0] * 4, [0, 1, 2, 3], [*range(6), 0, 0]]


def test_a_lost_mask_stands_still_and_its_neighbours_do_not_notice():
    "Slopes that are no number in the middle of the walk, of one image."
    inner, (x, y) = small_network(), small_images(6)
    x[2] += 100

    def model(x):
        mean = x.mean((1, 2, 3))
        lost = (mean > 50) & (x.std((1, 2, 3)) < 0.7)  # of 1: some of its frequencies are gone
        factor = torch.where(lost, torch.nan, 1.0).to(x)  # and not a choice between outputs, whose slopes would meet
        return inner(x - 100 * (mean > 50)[:, None, None, None]) * factor[:, None]

    state, _, _ = walked(model, x, y)
    others = torch.arange(6) != 2
    alone, _, _ = walked(inner, x[others], y[others])
    assert not state.settled[2] and state.done.all() and state.best[2].isfinite().all()
    torch.testing.assert_close(state.best_value[others], alone.best_value, rtol=1e-6, atol=0)
    shared, _, _ = walked(model, x, y, owner=torch.zeros(6, dtype=torch.long), n=1)  # and no endless loop
    assert shared.best.isfinite().all() and not shared.settled.any()


def test_a_state_gives_rows_and_takes_them_back():
    state = State.start(torch.rand(5, 1, 3), 0.2)
    rows = torch.tensor([3, 1])
    changed = replace(state[rows], radius=torch.tensor([1.0, 2.0]))
    whole = state.put(rows, changed)
    assert whole.radius.tolist() == pytest.approx([0.2, 2.0, 0.2, 1.0, 0.2]) and torch.equal(whole.theta, state.theta)
    assert len(State.join([state, changed])) == 7
    assert mean_by_owner(torch.tensor([1.0, 3, 5]), torch.tensor([1, 0, 1]), 2).tolist() == [3, 3]


@pytest.mark.parametrize("steps", [1, 5, 9, 11, 60, 1000])  # torch divides by zero at ten
@pytest.mark.parametrize("max_lr", [1e-3, 0.2])
def test_the_one_cycle_is_torchs(steps, max_lr):
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], max_lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=steps, pct_start=0.1)
    for step in range(1, steps + 1):
        rate, beta1 = one_cycle(step, steps, max_lr)
        group = optimizer.param_groups[0]
        assert rate == pytest.approx(group["lr"], rel=1e-9) and beta1 == pytest.approx(group["betas"][0], rel=1e-9)
        optimizer.step()
        if step < steps: schedule.step()


@pytest.mark.parametrize("size", [(6, 5), (4, 6), (5, 5)])
def test_the_authors_schedule_takes_their_steps_for_images(size):
    """Their parameter is the full plane, ours an orbit, whose gradient is the sum of both entries'. Adam divides by the
    gradient's size, so the steps are the same, up to its ε = 1e-8 beside gradients of at least 0.07/30."""
    model, (x, y) = small_network(size), small_images(2, size=size)
    state, _, problem = walked(model, x, y, replace(AUTHORS_IMAGE, steps=150))
    for i in range(2):
        theirs = authors_planes(model, x, y, [i] * 150, 0.2, weight=0.07, stretch=200)[-1]
        # 150 steps of 0.008, each off by 1e-8 / (0.07/30)
        torch.testing.assert_close(problem.layout.full(state.theta)[i, 0], theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 5), (5, 5)])
def test_the_authors_schedule_takes_their_steps_for_a_data_set(size):
    "One image a step, in the order that is drawn; plain Adam and the one-cycle over all epochs."
    model, (x, _) = small_network(size), small_images(size=size)
    # labels that it never gives: each mask keeps 99 % of nothing
    with torch.no_grad(): y = (model(x).argmax(1) + 1) % 3
    pace = replace(AUTHORS_DATASET, steps=5, max_lr=0.06, seed=3)
    state, _, problem = walked(model, x, y, pace, owner=torch.zeros(12, dtype=torch.long), n=1, weight=0.2)
    plane = authors_planes(model, x, y, orders(3, 5, 12), 0.06, weight=0.2)[-1]
    assert (1 - plane).max() > 0.3 and (plane == 0).any() and state.steps.tolist() == [60]
    torch.testing.assert_close(problem.layout.full(state.theta)[0, 0], plane, rtol=0, atol=1e-5)  # as above


def test_the_authors_rule_waits_for_both_terms_to_stand_still():
    "Images of zeros, without a penalty, move no mask: 300 steps after the first without a change."
    model, (x, y) = small_network(), small_images(3)
    state, trace, _ = walked(model, 0 * x, y, replace(AUTHORS_IMAGE, steps=400), weight=0.0)
    assert state.settled.all() and state.steps.tolist() == [301] * 3 and len(trace) == 301


def test_orders_differ_between_epochs_and_seeds_and_hold_each_image_once():
    orders = [order_of(seed, epoch, 9) for seed, epoch in ((0, 0), (0, 1), (1, 0), (2**62, 3))]
    assert all(order.sort().values.tolist() == list(range(9)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4
