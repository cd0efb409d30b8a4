"The dataset mask against the authors' algorithm on the full plane, its side effects, and what it refuses."
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fourier_mask import Normalized, learn_dataset_mask
from fourier_mask.data import planted
from fourier_mask.dataset_mask import DATASET_SCHEDULES, learn_class_masks, random_half
from fourier_mask.learn import KNEE, invariance
from fourier_mask.spectrum import to_full
from fourier_mask.train import TrainSettings, train_network


def small_network(size=(6, 5), classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * size[0] * size[1], classes)).double()


def small_images(n=12, size=(6, 5), classes=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, *size, generator=generator, dtype=torch.float64), torch.arange(n) % classes


@pytest.mark.parametrize("size", [(6, 5), (4, 6), (5, 5)])
def test_the_half_plane_takes_the_same_steps_as_the_authors_full_plane(size):
    "Whole batch, one step an epoch, plain full-plane code written here; double precision, so that only rounding differs."
    model, (x, y) = small_network(size), small_images(size=size)
    with torch.no_grad(): clean = F.cross_entropy(model(x), y, reduction="none")
    plane, epochs = torch.ones(size, dtype=torch.float64, requires_grad=True), 12
    optimizer = torch.optim.Adam([plane], 0.05, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=epochs + 1, pct_start=2 / (epochs + 1), cycle_momentum=False, final_div_factor=1e4)
    for _ in range(epochs):
        masked = F.cross_entropy(model(torch.fft.ifft2(plane * torch.fft.fft2(x)).real), y, reduction="none")
        loss = torch.exp((masked - clean) ** 2).mean() + 0.2 * plane.abs().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
        with torch.no_grad(): plane.clamp_(0, 1)
    ours = learn_dataset_mask(model, x, y, epochs=epochs, batch_size=len(x), max_lr=0.05, patience=99, progress=False)
    torch.testing.assert_close(ours.masks[0, 0], plane.detach().float(), atol=1e-5, rtol=0)  # float32 storage, and Adam's ε on a gradient twice as large


def authors_loop(model, x, y, plane, epochs, max_lr, weight=0.2):
    """The authors' algorithm, written down plainly: the full plane, one image a step, torch's one-cycle schedule as it comes, and no rule of 99 %.
    Returns the mask and its sparsity after each epoch. The schedule has a step to spare, as ours."""
    plane = plane.clone().requires_grad_()
    optimizer, curve = torch.optim.Adam([plane], max_lr), []
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=epochs * len(x) + 1, pct_start=0.1)
    for _ in range(epochs):
        for image, label in zip(x.split(1), y.split(1), strict=True):
            with torch.no_grad(): clean = F.cross_entropy(model(image), label)
            masked = F.cross_entropy(model(torch.fft.ifft2(plane * torch.fft.fft2(image)).real), label)
            loss = torch.exp((masked - clean) ** 2) + weight / plane.numel() * plane.abs().sum()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); schedule.step()
            with torch.no_grad(): plane.clamp_(0, 1)
        curve.append(plane.detach().abs().mean())
    return plane.detach(), torch.stack(curve)


@pytest.mark.parametrize("size", [(6, 5), (4, 6), (5, 5)])
@pytest.mark.parametrize("initial", ["ones", "random"])
def test_the_authors_schedule_takes_the_authors_steps(size, initial):
    """Their parameter is the full plane, ours the half plane, where the gradient of an orbit inside is twice as large and that of the columns that mirror
    themselves is not. Adam divides by the gradient's size, so the steps are the same, up to its ε = 1e-8 beside gradients of at least 0.2/30; a start
    that is point-symmetric stays so. The loader gives the images in the order of the loop."""
    model, (x, _) = small_network(size), small_images(size=size)
    with torch.no_grad(): y = (model(x).argmax(1) + 1) % 3  # labels that the network never gives: every mask keeps 99 % of nothing
    start = torch.ones(size, dtype=torch.float64) if initial == "ones" else to_full(random_half((1, 1, size[0], size[1] // 2 + 1), size[1], 5), size)[0, 0].double()
    plane, curve = authors_loop(model, x, y, start, epochs=5, max_lr=0.06)
    assert (plane - start).abs().max() > 0.3 and (plane == 0).any()
    ours = learn_dataset_mask(model, DataLoader(TensorDataset(x, y), 1), schedule="authors", initial=initial, seed=5, epochs=5, max_lr=0.06, progress=False)
    torch.testing.assert_close(ours.masks[0, 0], plane.float(), atol=1e-5, rtol=0)  # 60 steps of up to 0.06, each off by 1e-8 / (0.2/30); float32 storage
    torch.testing.assert_close(ours.trace["sparsity"], curve.float(), atol=1e-5, rtol=0)
    assert ours.steps.item() == 60 and ours.settings["keep"] == 0.99


def test_the_99_percent_rule_returns_the_last_mask_that_counts():
    "A large penalty takes the mask away in the course of the epochs, and with it the accuracy."
    model, (x, _) = small_network(), small_images()
    with torch.no_grad(): y = model(x).argmax(1)
    assert len(y.unique()) > 1
    masks = learn_dataset_mask(model, x, y, schedule="authors", weight=30, epochs=8, max_lr=0.05, progress=False)
    counts = (masks.trace["accuracy_share"] >= 0.99).nonzero().flatten().tolist()
    assert counts and counts[-1] < len(masks.trace["sparsity"]) - 1 and not masks.converged
    torch.testing.assert_close(masks.sparsity[0], masks.trace["sparsity"][counts[-1]])
    assert masks.prediction_kept == 1  # labels are the predictions, and 11 of 12 would be less than 99 %


def test_a_mask_that_never_counts_is_returned_with_a_warning():
    model, (x, _) = small_network(), small_images()
    with torch.no_grad(): y = model(x).argmax(1)
    with pytest.warns(UserWarning, match="no mask kept 99% of the clean accuracy"):
        masks = learn_dataset_mask(model, x, y, schedule="authors", weight=1000, epochs=2, max_lr=1.0, progress=False)
    assert not masks.converged and masks.sparsity == masks.trace["sparsity"][-1] and (masks.trace["accuracy_share"] < 0.99).all()


def test_the_authors_rule_to_stop_looks_at_sparsity_alone():
    "Without a penalty a mask of ones stays as it is: seven epochs without change after the first."
    x, y = small_images()
    masks = learn_dataset_mask(small_network(), x, y, schedule="authors", weight=0, progress=False)
    assert masks.converged and masks.steps == 8 * 12 and len(masks.trace["sparsity"]) == 8
    assert masks.settings["epochs"] == 100 and masks.settings["watch"] == ["sparsity"]


def test_the_fast_schedule_is_what_it_was():
    "The values that were the defaults before there were schedules."
    x, y = small_images()
    given = learn_dataset_mask(small_network(), x, y, epochs=10, batch_size=64, max_lr=0.05, tolerance=2e-3, patience=2, progress=False)
    left_out = learn_dataset_mask(small_network(), x, y, progress=False)
    assert torch.equal(given.masks, left_out.masks) and given.settings == left_out.settings and "accuracy_share" not in given.trace
    fast = DATASET_SCHEDULES["fast"]
    assert (fast.averages, fast.lowest, fast.limit, fast.keep) == ((0.9, 0.99), 0.9, 10, None)


@pytest.mark.parametrize("size", [(6, 5), (4, 6), (1, 4), (5, 1), (1, 1), (2, 2)])
def test_a_random_start_is_a_mask_and_repeats_with_its_seed(size):
    plane = to_full(random_half((2, 1, size[0], size[1] // 2 + 1), size[1], 3), size)
    half = random_half((2, 1, size[0], size[1] // 2 + 1), size[1], 3)
    assert torch.equal(plane[..., : size[1] // 2 + 1], half) and ((plane >= 0) & (plane <= 1)).all()  # folding finds nothing to average
    assert not torch.equal(half, random_half(half.shape, size[1], 4))


def test_random_starts_differ_with_the_seed_and_end_where_ones_end():
    "The whole set in each batch, so that nothing else differs. One frequency carries the class, and every start finds it."
    wave = torch.cos(2 * math.pi * torch.arange(8) * 3 / 8).expand(8, 8)
    y = torch.arange(32) % 2
    x = (2 * y - 1)[:, None, None, None] * wave + torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = lambda z: torch.stack([-(z[:, 0] * wave).sum((1, 2)), (z[:, 0] * wave).sum((1, 2))], 1) / 16
    learn = lambda seed, epochs=60, initial="random": learn_dataset_mask(model, x, y, initial=initial, seed=seed, epochs=epochs, patience=60, max_lr=0.1, progress=False)
    assert torch.equal(learn(1, 2).masks, learn(1, 2).masks) and not torch.equal(learn(1, 2).masks, learn(2, 2).masks)
    ends = [learn(1), learn(2), learn(1, initial="ones")]
    assert all(torch.equal(end.masks > 0, ends[2].masks > 0) for end in ends)
    for end in ends[:2]: torch.testing.assert_close(end.objective, ends[2].objective, atol=1e-3, rtol=0)  # flat at the end: entries may differ by 0.1
    assert learn(1, 1).settings["initial"] == "random"


def test_class_masks_take_a_schedule():
    model, (x, _) = small_network(), small_images()
    with torch.no_grad(): y = model(x).argmax(1)
    masks = learn_class_masks(model, x, y, schedule="authors", epochs=2, progress=False)
    assert masks.labels.tolist() == y.unique().tolist() and masks.settings["schedule"] == "authors" and masks.settings["epochs"] == 2
    assert (masks.steps == 2 * torch.bincount(y)[y.unique()]).all()


def test_bf16_passes_change_the_objective_little():
    network, (x, y) = small_network().float(), small_images()
    results = [learn_dataset_mask(network, x.float(), y, precision=precision, epochs=4, batch_size=4, progress=False) for precision in ("float32", "bf16")]
    assert results[1].masks.dtype == torch.float32 and results[1].settings["precision"] == "bf16" and not torch.equal(results[0].masks, results[1].masks)
    torch.testing.assert_close(results[1].objective, results[0].objective, rtol=0.02, atol=0)  # logits of 8 bits, measured in float32 at the end


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
    masks = learn_dataset_mask(lambda z: 500 * network(z), x, y, epochs=3, batch_size=4, progress=False)
    assert masks.masks.isfinite().all() and masks.objective.isfinite().all()


def test_a_trained_networks_mask_finds_the_planted_frequencies():
    """Images that differ at one orbit for each of three classes. Two orbits tell three classes apart, the third is where neither is seen:
    a smallest mask keeps at least two of the planted orbits, and nothing that was not planted."""
    frequencies = ((1, 2), (6, 1), (4, 7))
    data = planted(frequencies, n_train=900, n_val=300, noise=0.05)
    model, record = train_network(data, "natural", TrainSettings(width=0.25, epochs=5, batch_size=50, max_lr=3e-3), progress=False)
    assert record["clean_acc_pct"] > 99
    masks = learn_dataset_mask(model, data.val.images, data.val.labels, epochs=15, batch_size=50, max_lr=0.1, progress=False)
    mask, planted_at = masks.masks[0, 0], torch.zeros(32, 32, dtype=torch.bool)
    for v, u in frequencies: planted_at[v, u] = planted_at[-v, -u] = True
    assert sum(mask[v, u] > 0.5 for v, u in frequencies) >= 2
    assert mask[~planted_at].max() < 0.05 and masks.prediction_kept > 0.99


def test_the_same_seed_gives_the_same_bits_and_another_another():
    x, y = small_images()
    run = lambda seed: learn_dataset_mask(small_network(), x, y, epochs=3, batch_size=4, seed=seed, progress=False)
    first, again, other = run(0), run(0), run(1)
    assert torch.equal(first.masks, again.masks) and torch.equal(first.trace["sparsity"], again.trace["sparsity"])
    assert not torch.equal(first.masks, other.masks)


def test_nothing_of_the_model_or_the_world_is_changed():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(60, 3)).train()
    network[1].eval(); network[0].weight.requires_grad_(False); network[4].weight.grad = torch.ones(3, 60)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = (t.float() if t.is_floating_point() else t for t in small_images())
    images, random_state = x.clone(), torch.get_rng_state()
    learn_dataset_mask(network, x, y, epochs=2, batch_size=4, progress=False)
    assert [m.training for m in network] == [True, False, True, True, True]
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True, True, True]
    assert torch.equal(network[4].weight.grad, torch.ones(3, 60))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(x, images) and torch.equal(torch.get_rng_state(), random_state)


def test_a_network_inside_a_function_gets_no_gradients():
    network, (x, y) = small_network(), small_images()
    masks = learn_dataset_mask(lambda z: network(z), x, y.int(), epochs=1, progress=False)
    assert all(p.grad is None for p in network.parameters()) and masks.masks.isfinite().all()


def test_the_model_is_given_back_after_an_error():
    network = small_network().float().train()
    with pytest.raises(ValueError, match="labels must lie in"): learn_dataset_mask(network, small_images()[0].float(), torch.full((12,), 7), progress=False)
    assert network.training and all(p.requires_grad for p in network.parameters())


def test_tensor_dataset_and_loader_agree():
    "Whole batches, so that their order cannot matter; the loader computes the clean loss anew, the tensor looks it up."
    x, y = small_images()
    settings = dict(epochs=4, batch_size=12, progress=False)
    masks = [learn_dataset_mask(small_network(), *source, **settings).masks for source in ((x, y), (TensorDataset(x, y),), (DataLoader(TensorDataset(x, y), 12),))]
    torch.testing.assert_close(masks[1], masks[0], atol=1e-6, rtol=0)  # sums over the batch in another order, then float32
    torch.testing.assert_close(masks[2], masks[0], atol=1e-6, rtol=0)


def test_a_normalized_model_is_masked_behind_its_centring():
    network, (x, y) = small_network(), small_images()
    inside = learn_dataset_mask(Normalized(network, 0.3, 0.5).double(), x, y, epochs=3, batch_size=12, progress=False)
    outside = learn_dataset_mask(network, (x - torch.tensor(0.3).double()) / 0.5, y, epochs=3, batch_size=12, progress=False)
    torch.testing.assert_close(inside.masks, outside.masks, atol=1e-5, rtol=0)  # 0.3 is stored as float32 in the one and not in the other


def test_output_fn_channels_and_p():
    network, (x, y) = small_network(), small_images()
    x = x.expand(-1, 3, -1, -1)
    masks = learn_dataset_mask(lambda z: {"logits": network(z.mean(1, keepdim=True))}, x, y, output_fn=lambda out: out["logits"], channels=3, p=2, epochs=2, progress=False)
    assert masks.masks.shape == (1, 3, 6, 5)
    torch.testing.assert_close(masks.sparsity, masks.masks.square().mean((1, 2, 3)).sqrt())


@pytest.mark.parametrize(("change", "error", "message"), [
    (dict(weight=-0.1), ValueError, "weight must be at least 0"),
    (dict(weight=math.nan), ValueError, "weight must be at least 0"),
    (dict(p=0.5), ValueError, "p must be at least 1"),
    (dict(seed=-1), ValueError, "seed must be at least 0, a whole number"),
    (dict(labels=torch.ones(12, dtype=torch.bool)), ValueError, "whole numbers"),
    (dict(epochs=0), ValueError, "epochs must be at least 1"),
    (dict(max_lr=0.0), ValueError, "max_lr must lie in"),
    (dict(images=torch.full((12, 1, 6, 5), math.nan).double()), ValueError, "12 of 12 hold nan or inf"),
    (dict(images=torch.zeros(12, 6, 5).double()), ValueError, r"shape \(b, c, h, w\)"),
    (dict(images=torch.zeros(0, 1, 6, 5).double()), ValueError, "nothing empty"),
    (dict(images=torch.zeros(12, 1, 6, 5, dtype=torch.uint8)), TypeError, "Scale bytes"),
    (dict(labels=torch.arange(12)), ValueError, r"labels must lie in 0 … 2"),
    (dict(labels=torch.arange(5) % 3), ValueError, "one for each image"),
    (dict(labels=torch.zeros(12).double()), ValueError, "whole numbers"),
    (dict(labels=None), ValueError, "labels must be given"),
    (dict(model=lambda z: z), ValueError, r"logits of shape \(b, classes\)"),
    (dict(model=lambda z: (z,)), TypeError, "Pass output_fn="),
    (dict(model=lambda z: z.flatten(1)[:, :3] * math.inf), ValueError, "finite logits"),
    (dict(channels=3), ValueError, "must have 3 channels"),
    (dict(schedule="slow"), ValueError, "schedule must be one of fast, authors"),
    (dict(initial="zeros"), ValueError, "initial must be one of ones, random"),
    (dict(precision="half"), ValueError, "precision must be one of float32"),
    (dict(model=lambda z: z.detach().flatten(1)[:, :3]), ValueError, "model must pass gradients on"),
])
def test_bad_input_is_refused(change, error, message):
    x, y = small_images()
    with pytest.raises(error, match=message): learn_dataset_mask(**dict(model=small_network(), images=x, labels=y, progress=False) | change)
