"The masks of data sets and classes: quality, the authors' own schedule, side effects, and what is refused."
import math
from dataclasses import replace

import pytest
import torch
from oracles import authors_planes, filtered, least_objectives, orders
from small import in_unit, small_images, small_network
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fourier_mask import Normalized, learn_dataset_mask
from fourier_mask import dataset_mask as dataset_module
from fourier_mask.authors import AUTHORS_DATASET
from fourier_mask.basis import RealFourier
from fourier_mask.data import planted
from fourier_mask.dataset_mask import learn_class_masks
from fourier_mask.form import Layout
from fourier_mask.goal import KNEE, invariance
from fourier_mask.train import TrainSettings, train_network


@pytest.fixture
def rate(monkeypatch):
    "Their schedule at another peak rate, so that few epochs go far."
    def at(value): monkeypatch.setattr(dataset_module, "AUTHORS_DATASET", replace(AUTHORS_DATASET, max_lr=value))

    return at


@pytest.mark.parametrize(("size", "weight"), [((6, 5), 0.2), ((4, 6), 0.02), ((5, 5), 0.005)])
def test_the_objective_is_at_or_below_that_of_a_plain_loop(size, weight):
    model, (x, y) = small_network(size), small_images(size=size)
    ours = learn_dataset_mask(model, x, y, weight=weight, progress=False)
    excess = (ours.objective - 1) / least_objectives(model, x, y, weight, shared=True)[0]
    # a mask stops after two steps that promise less than 1 % of what is left above 1
    assert ours.converged and excess < 1.02


def authors_epochs(model, x, y, epochs, max_lr, weight=0.2, seed=0, start=None):
    "The authors' loop: the mask after each epoch, its accuracy over the clean one, and its mean size in the epoch."
    planes = authors_planes(model, x, y, orders(seed, epochs, len(x)), max_lr, weight, start=start)
    masks = planes[len(x) :: len(x)]
    right = lambda images: (model(images).argmax(1) == y).sum().item()
    with torch.no_grad(): shares = [right(filtered(mask, x)) / (right(x) or math.nan) for mask in masks]
    return masks, shares, planes[:-1].mean((1, 2)).view(epochs, len(x)).mean(1)


@pytest.mark.parametrize("size", [(6, 5), (4, 6), (5, 5)])
@pytest.mark.parametrize("initial", ["ones", "random"])
def test_the_authors_schedule_takes_the_authors_steps(size, initial, rate):
    """Their parameter is the full plane, ours a number for each orbit, where the gradient of an orbit inside is twice
    as large and that of an entry that mirrors itself is not. Adam divides by the gradient's size, so the steps are the
    same, up to its ε = 1e-8 beside gradients of at least 0.2/30; a start that is point-symmetric stays so."""
    model, (x, _) = small_network(size), small_images(size=size)
    # labels that the network never gives: every mask keeps 99 % of nothing
    with torch.no_grad(): y = (model(x).argmax(1) + 1) % 3
    layout = Layout(RealFourier(size))
    start = torch.ones(1, len(layout))
    if initial == "random": start = torch.rand(1, len(layout), generator=torch.Generator().manual_seed(5))
    start = layout.full(start)[0].double()
    masks, _, curve = authors_epochs(model, x, y, epochs=5, max_lr=0.06, seed=5, start=start)
    assert (masks[-1] - start).abs().max() > 0.3 and (masks[-1] == 0).any()
    rate(0.06)
    with pytest.warns(UserWarning, match="1 of 1 masks had not settled"):
        ours = learn_dataset_mask(model, x, y, schedule="authors", initial=initial, seed=5, epochs=5, progress=False)
    # 60 steps of up to 0.06, each off by 1e-8 / (0.2/30); float32 storage
    torch.testing.assert_close(ours.masks[0, 0], masks[-1].float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.trace["sparsity"][0].double(), curve, atol=1e-5, rtol=0)
    assert ours.steps.item() == 60


def test_the_99_percent_rule_returns_the_last_mask_that_counts(rate):
    "A large penalty takes the mask away in the course of the epochs, and with it the accuracy."
    model, (x, _) = small_network(), small_images()
    with torch.no_grad(): y = model(x).argmax(1)
    assert len(y.unique()) > 1
    rate(0.05)
    with pytest.warns(UserWarning, match="had not settled.*99 % of the clean accuracy"):
        ours = learn_dataset_mask(model, x, y, schedule="authors", weight=30, epochs=8, progress=False)
    masks, shares, _ = authors_epochs(model, x, y, epochs=8, max_lr=0.05, weight=30)
    counts = [epoch for epoch, share in enumerate(shares) if share >= 0.99]
    assert counts and counts[-1] < 7 and not ours.converged
    torch.testing.assert_close(ours.masks[0, 0], masks[counts[-1]].float(), atol=1e-5, rtol=0)  # as above
    assert ours.prediction_kept == 1  # labels are the predictions, and 11 of 12 would be less than 99 %


def test_a_mask_that_never_counts_is_returned_with_a_warning(rate):
    model, (x, _) = small_network(), small_images()
    with torch.no_grad(): y = model(x).argmax(1)
    rate(1.0)
    with pytest.warns(UserWarning, match="had not settled.*99 % of the clean accuracy: raise epochs, or lower weight"):
        ours = learn_dataset_mask(model, x, y, schedule="authors", weight=1000, epochs=2, progress=False)
    masks, shares, _ = authors_epochs(model, x, y, epochs=2, max_lr=1.0, weight=1000)
    assert max(shares) < 0.99 and not ours.converged
    torch.testing.assert_close(ours.masks[0, 0], masks[-1].float(), atol=1e-5, rtol=0)  # the last one


def test_the_authors_rule_to_stop_looks_at_sparsity_alone():
    "Images of zeros, without a penalty, move no mask: seven epochs without change after the first."
    x, y = small_images()
    masks = learn_dataset_mask(small_network(), 0 * x, y, schedule="authors", weight=0, progress=False)
    assert masks.converged and masks.steps == 8 * 12 and masks.trace["sparsity"].shape == (1, 8)


@pytest.mark.filterwarnings("ignore:.*had not settled")  # so few epochs settle none
@pytest.mark.parametrize("size", [(6, 5), (4, 6), (1, 4), (5, 1), (1, 1), (2, 2)])
def test_a_random_start_is_a_mask_and_repeats_with_its_seed(size):
    "One pass sees the start alone, so the start is the best that it has seen."
    model, (x, y) = small_network(size), small_images(size=size)

    def start(seed): return learn_dataset_mask(model, x, y, initial="random", seed=seed, epochs=1, progress=False).masks

    first = start(3)[0, 0]
    flipped = first.flip(0, 1).roll((1, 1), (0, 1))
    assert torch.equal(first, flipped) and ((first >= 0) & (first <= 1)).all()
    assert torch.equal(first, start(3)[0, 0]) and not torch.equal(first, start(4)[0, 0])


def test_random_starts_repeat_by_seed_and_end_near_where_ones_end():
    "One frequency carries the class, and every start finds it."
    wave = torch.cos(2 * math.pi * torch.arange(8) * 3 / 8).expand(8, 8)
    y = torch.arange(32) % 2
    noise = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x = (2 * y - 1)[:, None, None, None] * wave + noise

    def model(z):
        found = (z[:, 0] * wave).sum((1, 2)) / 16
        return torch.stack([-found, found], 1)

    def learn(**settings): return learn_dataset_mask(model, x, y, progress=False, **settings)

    random = [learn(initial="random", seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(random[0].masks, random[1].masks) and random[0].settings["initial"] == "random"
    ones, several = learn(), learn(starts=3)
    assert len(several) == 3 and several.objective.argmin() == 0 and several.settings["starts"] == 3
    for end in (*random, *several):
        found = end.masks[0, 0] > 0.01
        assert end.converged.all() and found[0, 3] and found.sum() == 2
        # of what exceeds 1: either end may be as far above the least value as the stopping rule allows, 2 %
        torch.testing.assert_close(end.objective - 1, ones.objective - 1, rtol=0.02, atol=0)


def test_class_masks_take_the_authors_schedule():
    model, (x, _) = small_network(), small_images()
    with torch.no_grad(): y = model(x).argmax(1)
    with pytest.warns(UserWarning, match="masks had not settled"):
        masks = learn_class_masks(model, x, y, schedule="authors", epochs=2, progress=False)
    assert masks.labels.tolist() == y.unique().tolist() and masks.settings["schedule"] == "authors"
    assert masks.settings["steps"] == 2 and (masks.steps == 2 * torch.bincount(y)[y.unique()]).all()


def test_class_masks_are_those_of_each_class_alone():
    model, (x, y) = small_network(), small_images()
    masks = learn_class_masks(model, x, y, weight=0.02, progress=False)
    assert masks.labels.tolist() == [0, 1, 2] and masks.converged.all()
    for i in range(3):
        alone = learn_dataset_mask(model, x[y == i], y[y == i], weight=0.02, progress=False)
        # double precision, with sums in other blocks; float32 storage
        torch.testing.assert_close(masks.masks[i], alone.masks[0], atol=1e-6, rtol=0)
        assert masks.steps[i] == alone.steps[0]
        for term, rows in masks.trace.items():  # each has its own, and nan once it had settled
            torch.testing.assert_close(rows[i, : masks.steps[i]], alone.trace[term][0], atol=1e-6, rtol=0)
            assert rows[i, masks.steps[i] :].isnan().all()
    assert len(masks.steps.unique()) > 1


@pytest.mark.parametrize(("learn", "n"), [(learn_dataset_mask, 2), (learn_class_masks, 6)])
def test_masks_that_do_not_settle_are_told_once(learn, n):
    model, (x, y) = small_network(), small_images()
    with pytest.warns(UserWarning, match=f"{n} of {n} masks had not settled.*Raise epochs or tolerance") as told:
        masks = learn(model, x, y, starts=2, epochs=2, progress=False)
    assert len(told) == 1 and not masks.converged.any()
    assert learn(model, x, y, progress=False).converged.all()  # and nothing is said, or the test would fail


@pytest.mark.parametrize("learn", [learn_dataset_mask, learn_class_masks])
def test_goals_that_many_images_do_not_reach_are_told(learn):
    "At any price: the mask of what is taken away stays empty, and no answer changes."
    model, (x, _) = small_network(), small_images()
    with torch.no_grad(): y = model(x).argmax(1)
    with pytest.warns(UserWarning, match="do not reach their goal") as told:
        masks = learn(model, x, y, weight=1000, goal="change", part="rest", progress=False)
    assert len(told) == 1 and masks.converged.all() and (masks.reached < 1).all()


def test_an_empty_mask_settles_and_late_where_its_norm_is_a_cone():
    "The square norm has no slope at an entry that is zero while another is not."
    model, (x, y) = small_network(), small_images()
    plain, cone = (learn_dataset_mask(model, x, y, weight=5, p=p, progress=False) for p in (1, 2))
    assert plain.converged and cone.converged and 3 * plain.steps < cone.steps
    torch.testing.assert_close(cone.objective, plain.objective)  # the network's answer to nothing at all
    assert plain.sparsity < 1e-6 and cone.sparsity < 1e-6


def test_bf16_passes_change_the_objective_little():
    network, (x, y) = small_network().float(), small_images()
    plain, half = (learn_dataset_mask(network, x.float(), y, weight=0.02, precision=precision, progress=False)
                   for precision in ("float32", "bf16"))
    assert half.masks.dtype == torch.float32 and half.settings["precision"] == "bf16"
    assert not torch.equal(plain.masks, half.masks)
    # of what exceeds 1: logits of 8 bits, so residuals near 0.1 are known to a few per cent
    torch.testing.assert_close(half.objective - 1, plain.objective - 1, rtol=0.1, atol=0)


@pytest.mark.parametrize("difference", [0.0, 0.3, KNEE, 9.5, 100.0, 1e6])
def test_invariance_is_finite_and_rises(difference):
    d = torch.tensor([difference, -difference], requires_grad=True)
    value = invariance(d, torch.zeros(2))
    gradient, = torch.autograd.grad(value.sum(), d)
    assert value.isfinite().all() and gradient.isfinite().all() and (value >= 1).all()
    assert gradient[0] == -gradient[1]
    if difference <= KNEE: torch.testing.assert_close(value[0], torch.tensor(difference).square().exp())


def test_a_huge_loss_difference_loses_no_image():
    "Logits so large that the plain exponential would be inf at the first step away from the mask of ones."
    x, y = small_images()
    network = small_network()
    masks = learn_dataset_mask(lambda z: 500 * network(z), x, y, epochs=10, progress=False)
    assert masks.masks.isfinite().all() and masks.objective.isfinite().all()
    assert masks.objective <= 1.2 + 1e-6  # that of the mask of ones, stored in float32


def test_a_trained_networks_mask_finds_the_planted_frequencies():
    """Images that differ at one orbit for each of three classes. Two orbits tell three classes apart, the third is
    where neither is seen: a smallest mask keeps at least two of the planted orbits, and nothing else."""
    frequencies = ((1, 2), (6, 1), (4, 7))
    data = planted(frequencies, n_train=450, n_val=90, noise=0.05)
    settings = TrainSettings(width=0.125, epochs=6, batch_size=30, max_lr=3e-3)
    model, record = train_network(data, "natural", settings, progress=False)
    assert record["clean_acc_pct"] > 99
    masks = learn_dataset_mask(model, data.val.images, data.val.labels, progress=False)
    mask, planted_at = masks.masks[0, 0], torch.zeros(32, 32, dtype=torch.bool)
    for v, u in frequencies: planted_at[v, u] = planted_at[-v, -u] = True
    assert sum(mask[v, u] > 0.3 for v, u in frequencies) >= 2
    assert mask[~planted_at].mean() < 0.01 and masks.prediction_kept > 0.99


def test_the_same_call_gives_the_same_bits_whatever_the_seed_of_the_order():
    "Nothing is drawn from ones: the seed is of random starts and of the authors' order."
    x, y = small_images()
    first, again, other = (learn_dataset_mask(small_network(), x, y, seed=seed, progress=False) for seed in (0, 0, 1))
    assert torch.equal(first.masks, again.masks) and torch.equal(first.masks, other.masks)
    assert torch.equal(first.trace["sparsity"], again.trace["sparsity"])


@pytest.mark.filterwarnings("ignore:.*had not settled")  # so few epochs settle none
def test_nothing_of_the_model_or_the_world_is_changed():
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(60, 3)
    network = nn.Sequential(*layers).train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    network[4].weight.grad = torch.ones(3, 60)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = small_images()
    x = x.float()
    images, random_state = x.clone(), torch.get_rng_state()
    learn_dataset_mask(network, x, y, initial="random", epochs=2, batch_size=4, progress=False)
    learn_dataset_mask(network, DataLoader(TensorDataset(x, y), 5, shuffle=True), epochs=2, progress=False)
    assert [m.training for m in network] == [True, False, True, True, True]
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True, True, True]
    assert torch.equal(network[4].weight.grad, torch.ones(3, 60))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(x, images) and torch.equal(torch.get_rng_state(), random_state)


def test_a_network_inside_a_function_gets_no_gradients():
    network, (x, y) = small_network(), small_images()
    masks = learn_dataset_mask(lambda z: network(z), x, y.int(), progress=False)
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert torch.equal(masks.masks, learn_dataset_mask(network, x, y, progress=False).masks)


def test_the_model_is_given_back_after_an_error():
    network = small_network().float().train()
    with pytest.raises(ValueError, match="labels must lie in"):
        learn_dataset_mask(network, small_images()[0].float(), torch.full((12,), 7), progress=False)
    assert network.training and all(p.requires_grad for p in network.parameters())


def test_tensor_dataset_and_a_loader_that_shuffles_agree():
    x, y = small_images()
    pairs = TensorDataset(x, y)
    sources = (x, y), (pairs,), (DataLoader(pairs, 5),), (DataLoader(pairs, 5, shuffle=True),)
    masks = [learn_dataset_mask(small_network(), *source, batch_size=5, progress=False) for source in sources]
    for other in masks[1:3]: assert torch.equal(other.masks, masks[0].masks)
    # sums over the images in another order, then float32
    torch.testing.assert_close(masks[3].masks, masks[0].masks, atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_how_many_images_pass_at_once_changes_nothing(batch_size):
    x, y = small_images()
    cut, whole = (learn_dataset_mask(small_network(), x, y, weight=0.02, batch_size=n, progress=False)
                  for n in (batch_size, 64))
    torch.testing.assert_close(cut.masks, whole.masks, atol=1e-6, rtol=0)  # double precision inside, float32 storage


@pytest.mark.parametrize("wrapped", [
    lambda model: model, nn.DataParallel, lambda model: torch.compile(model, backend="eager"),
], ids=["plain", "DataParallel", "compiled"])
def test_a_normalized_model_is_masked_behind_its_centring(wrapped):
    network, (x, y) = small_network(), small_images()
    x = in_unit(x)
    inside = learn_dataset_mask(wrapped(Normalized(network, 0.3, 0.5).double()), x, y, weight=0.02, progress=False)
    centred = (x - torch.tensor(0.3).double()) / 0.5  # 0.3 is stored as float32 by the model
    outside = learn_dataset_mask(network, centred, y, weight=0.02, progress=False)
    torch.testing.assert_close(inside.masks, outside.masks, atol=1e-5, rtol=0)  # float32 storage of 0.3, 1e-8 of it


def test_output_fn_channels_and_p():
    network, (x, y) = small_network(), small_images()
    x = x.expand(-1, 3, -1, -1)

    def model(z): return {"logits": network(z.mean(1, keepdim=True))}

    masks = learn_dataset_mask(model, x, y, output_fn=lambda out: out["logits"], channels=3, p=2, progress=False)
    assert masks.masks.shape == (1, 3, 6, 5) and masks.objective < 1.2
    torch.testing.assert_close(masks.sparsity, masks.masks.square().mean((1, 2, 3)).sqrt())


PAIRS = TensorDataset(*small_images())
EMPTY = TensorDataset(torch.zeros(0, 1, 6, 5), torch.zeros(0))


@pytest.mark.parametrize(("change", "error", "message"), [
    (dict(weight=-0.1), ValueError, r"weight = -0\.1 is not allowed.* λ of Eq\. 2"),
    (dict(weight=math.nan), ValueError, "weight = nan is not allowed.*finite number"),
    (dict(p=0.5), ValueError, "p = 0.5 is not allowed.*greater than or equal to 1"),
    (dict(seed=-1), ValueError, "seed = -1 is not allowed"),
    (dict(epochs=0), ValueError, "epochs = 0 is not allowed.*passes"),
    (dict(tolerance=-1), ValueError, "tolerance = -1 is not allowed"),
    (dict(starts=0), ValueError, "starts = 0 is not allowed"),
    (dict(max_lr=0.1), ValueError, "max_lr = 0.1 is not allowed"),
    (dict(batch_size=0), ValueError, "batch_size must be a whole number of images, at least 1"),
    (dict(images=torch.full((12, 1, 6, 5), math.nan).double()), ValueError, "12 of 12 hold nan or inf"),
    (dict(images=torch.zeros(12, 6).double()), ValueError, r"images must have shape \(b, c, h, w\)"),
    (dict(images=torch.zeros(0, 1, 6, 5).double()), ValueError, "nothing empty"),
    (dict(images=torch.zeros(12, 1, 6, 5, dtype=torch.uint8)), TypeError, "images must be floating.*Scale bytes"),
    (dict(images=[1, 2]), ValueError, "images must yield pairs.*this list yields int"),
    (dict(images=DataLoader(PAIRS)), ValueError, "labels must be 'given' or 'predicted' with a DataLoader"),
    (dict(images=EMPTY, labels="given"), ValueError, "images must hold at least one image"),
    (dict(labels=torch.ones(12, dtype=torch.bool)), ValueError, "labels must be whole numbers"),
    (dict(labels=torch.arange(12)), ValueError, r"labels must lie in 0 … 2"),
    (dict(labels=torch.arange(5) % 3), ValueError, "one for each image"),
    (dict(labels=torch.zeros(12).double()), ValueError, "labels must be whole numbers"),
    (dict(labels="given"), ValueError, "labels must be given"),
    (dict(labels=None), ValueError, "labels must be numbers, one for each image, or one of 'predicted', 'given'"),
    (dict(model=lambda z: z), ValueError, r"logits \(b, classes\).*Pass output_fn="),
    (dict(model=lambda z: (z,)), TypeError, "model must return a tensor; got tuple. Pass output_fn="),
    (dict(model=lambda z: z.flatten(1)[:, :3] * math.inf), ValueError, "model must return finite outputs"),
    (dict(model=lambda z: z.detach().flatten(1)[:, :3]), ValueError, "model must pass gradients on"),
    (dict(model=nn.Sequential(Normalized(small_network(), 0, 1))), ValueError, "Put Normalized outermost"),
    (dict(channels=3), ValueError, "channels must be 1 or 1"),
    (dict(schedule="slow"), ValueError, "schedule = 'slow' is not allowed: input should be 'fast' or 'authors'"),
    (dict(initial="zeros"), ValueError, "initial = 'zeros' is not allowed: input should be 'ones' or 'random'"),
    (dict(precision="half"), ValueError, "precision = 'half' is not allowed: input should be 'float32'"),
])
def test_bad_input_is_refused(change, error, message, annotations_off):
    x, y = small_images()
    with pytest.raises(error, match=message):
        learn_dataset_mask(**dict(model=small_network(), images=x, labels=y, progress=False) | change)
