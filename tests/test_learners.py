"What learners share: side effects, wrappers, precisions, starts and samples; kinks, large planes, odd weights."
import platform
import warnings

import pytest
import torch
import torch.nn.functional as F
from oracles import least_objectives
from small import in_unit, small_images, small_network
from test_descent import relu_network, sure_images
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fourier_mask import dataset_mask as page
from fourier_mask import images as reading
from fourier_mask import learner as learner_module
from fourier_mask.basis import RealFourier
from fourier_mask.dataset_mask import learn_class_masks, learn_dataset_mask, sampled
from fourier_mask.form import Rings
from fourier_mask.learn import learn_image_masks
from fourier_mask.models import Normalized, vgg11
from fourier_mask.part import Amplitude, Phase
from fourier_mask.path import learn_mask_path

QUIET = dict(progress=False)


LEARNERS = [learn_image_masks, learn_dataset_mask, learn_class_masks]


def quietly(learn, *given, **settings):
    "Few steps, whose masks need not settle."
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*settle")
        return learn(*given, progress=False, **settings)


def steps_of(learn, n): return {"steps": n} if learn is learn_image_masks else {"epochs": n}


@pytest.mark.parametrize("learn", LEARNERS)
@pytest.mark.parametrize("schedule", ["fast", "authors"])
def test_nothing_of_the_model_or_the_world_is_changed(learn, schedule):
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(60, 3)
    network = nn.Sequential(*layers).train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    network[4].weight.grad = torch.ones(3, 60)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = small_images()
    x = x.float()
    images, random_state, matmul = x.clone(), torch.get_rng_state(), torch.backends.cuda.matmul.fp32_precision
    quietly(learn, network, x, y, schedule=schedule, **steps_of(learn, 2))
    assert [m.training for m in network] == [True, False, True, True, True] and network.training
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True, True, True]
    assert torch.equal(network[4].weight.grad, torch.ones(3, 60)) and network[0].bias.grad is None
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(x, images) and torch.equal(torch.get_rng_state(), random_state)
    assert torch.backends.cuda.matmul.fp32_precision == matmul


@pytest.mark.parametrize("learn", LEARNERS)
def test_the_model_is_given_back_after_an_error(learn):
    network = small_network().float().train()
    with pytest.raises(ValueError, match="labels must lie in"):
        learn(network, small_images()[0].float(), torch.full((12,), 7), progress=False)
    assert network.training and all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("learn", LEARNERS)
def test_a_network_inside_a_function_gets_no_gradients_and_labels_may_be_short(learn):
    network, (x, y) = small_network(), small_images()
    masks = quietly(learn, lambda x: network(x), x, y.int(), **steps_of(learn, 2))
    assert all(p.grad is None for p in network.parameters()) and masks.masks.isfinite().all()


@pytest.mark.parametrize("learn", LEARNERS)
def test_a_normalized_model_is_masked_behind_its_centring(learn):
    network, (x, y) = small_network(), small_images()
    x = in_unit(x)
    asked = dict(weight=0.01)
    inside = quietly(learn, Normalized(network, 0.25, 0.0625).double(), x, y, **asked)  # both exact in float32
    outside = quietly(learn, network, (x - 0.25) / 0.0625, y, **asked)
    assert torch.equal(inside.masks, outside.masks)
    # a mask in front is another experiment
    before = quietly(learn, lambda x: network((x - 0.25) / 0.0625), x, y, **asked)
    assert not torch.allclose(before.masks, inside.masks, atol=0.01)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["DataParallel", "compile"])
@pytest.mark.parametrize("learn", LEARNERS)
def test_wrappers_are_looked_through(learn, wrap):
    "The mask went in front of the centring once, silently."
    network, (x, y) = small_network(), small_images()
    x, model = in_unit(x), Normalized(network, 0.25, 0.5).double()
    assert torch.equal(learn(wrap(model), x, y, progress=False).masks, learn(model, x, y, progress=False).masks)


@pytest.mark.parametrize("learn", LEARNERS)
def test_output_fn_channels_and_p(learn):
    network, (x, y) = small_network(), small_images()
    x = x.expand(-1, 3, -1, -1)
    model = lambda x: {"logits": network(x.mean(1, keepdim=True))}
    masks = quietly(learn, model, x, y, output_fn=lambda out: out["logits"], channels=3, p=2, **steps_of(learn, 4))
    assert masks.masks.shape[1:] == (3, 6, 5)
    torch.testing.assert_close(masks.sparsity, masks.masks.square().mean((1, 2, 3)).sqrt())


@pytest.mark.parametrize("learn", LEARNERS)
def test_a_stochastic_model_is_warned_of(learn):
    network, (x, y) = small_network(), small_images()
    with pytest.warns(UserWarning, match="other answers when it is asked twice"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*settle")
        learn(lambda x: network(F.dropout(x, 0.5)), x, y, progress=False, **steps_of(learn, 2))


@pytest.mark.parametrize("learn", LEARNERS)
@pytest.mark.parametrize("inside", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("outside", [torch.float32, torch.float64])
def test_networks_and_images_may_differ_in_precision(learn, inside, outside):
    "Passes are in the network's, the transform and the mask in single precision or double."
    network, (x, y) = small_network().to(inside), small_images()
    masks = quietly(learn, network, x.to(outside), y, **steps_of(learn, 20))
    exact = quietly(learn, small_network(), x, y, **steps_of(learn, 20))
    assert masks.masks.dtype == torch.float32
    bound = {torch.float64: 1e-6, torch.float32: 1e-4, torch.bfloat16: 0.05}[inside]  # 8 bits of a logit near 1
    torch.testing.assert_close(masks.objective.mean(), exact.objective.mean(), rtol=bound, atol=0)


@pytest.mark.parametrize("learn", LEARNERS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_images_and_filtered_images_may_be_of_half_precision(learn, half):
    "Masks are those of the same numbers in single precision; what they leave is as its images are."
    network, (x, y) = small_network().float(), small_images()
    x = x.to(half)
    masks, single = (quietly(learn, network, each, y, **steps_of(learn, 20)) for each in (x, x.float()))
    assert torch.equal(masks.masks, single.masks)
    mine = masks if learn is learn_image_masks else masks[0]
    filtered, exact = mine.apply(x), mine.apply(x.float())
    assert filtered.dtype == half and torch.equal(filtered, exact.to(half))


@pytest.mark.parametrize("learn", LEARNERS)
def test_a_gradient_of_zero_is_told(learn):
    "Rounding has a gradient, and it is zero: its masks are empty and would look settled."
    network, (x, y) = small_network(), small_images()
    with pytest.warns(UserWarning, match="passes a gradient of zero"):
        quietly(learn, lambda z: network(z.round()), x, y)
    with warnings.catch_warnings():  # the plain sum of a softmax's outputs has none either, yet it has slopes
        warnings.simplefilter("error")
        learn(nn.Sequential(network, nn.Softmax(1)), x, y, progress=False)


@pytest.mark.parametrize("learn", [*LEARNERS, learn_mask_path])
@pytest.mark.parametrize(("change", "message"), [
    (dict(labels=torch.zeros(3, 3), loss="squared_error"), r"labels must be a tensor of 12 targets.*got \(3, 3\)"),
    (dict(labels=torch.full((12, 3), torch.nan), loss="squared_error"), "labels must be finite"),
    (dict(labels=torch.zeros(12)), "labels must be whole numbers"),
    (dict(form=Rings), "form must be a Form, as Rings.8. is, or its name"),
    (dict(part=Amplitude(torch.ones(1, 3, 3))), r"reference of Amplitude must have the shape .* got \(1, 3, 3\)"),
    (dict(batch_size=2.5), "batch_size must be a whole number"),
])
def test_bad_parts_and_targets_are_refused(learn, change, message, annotations_off):
    model, (x, y) = small_network(), small_images()
    if learn is learn_class_masks and "loss" in change: message = "labels must be whole numbers"
    with pytest.raises((ValueError, TypeError), match=message):
        learn(**dict(model=model, images=x, labels=y, progress=False) | change)


@pytest.mark.parametrize(("learn", "given", "message"), [
    (learn_dataset_mask, dict(steps=3), "steps is not an argument here; pass epochs="),
    (learn_class_masks, dict(steps=3), "steps is not an argument here; pass epochs="),
    (learn_mask_path, dict(weight=0.1), "weight is not an argument here; pass weights="),
])
def test_arguments_of_other_doors_are_named(learn, given, message):
    x, y = small_images()
    with pytest.raises(TypeError, match=message): learn(small_network(), x, y, **given)


def test_a_data_set_without_labels_is_refused():
    x, _ = small_images()
    with pytest.raises(ValueError, match="labels must be given with images that come without any"):
        learn_dataset_mask(small_network(), DataLoader(x, 4), progress=False)


@pytest.mark.parametrize("learn", LEARNERS)
def test_parts_of_ones_own_stay_where_they_are(learn):
    "A learner moves a copy of a basis, not the user's."
    basis = RealFourier((6, 5))
    part, model, (x, y) = Phase(basis), small_network(), small_images()
    held = part.reference.clone()
    masks = quietly(learn, model, x, y, basis=basis, part=part, **steps_of(learn, 3))
    assert torch.equal(part.reference, held) and torch.equal(masks.held["part/reference"], held)


@pytest.mark.parametrize("learn", LEARNERS[:2])  # labels say whose images are a class's
def test_regressions_need_no_labels(learn):
    "Several outputs, compared with what they were; no class is named for them."
    network, (x, _) = small_network(), small_images()
    given = dict(loss="squared_error", progress=False)
    masks = learn(network, x, **given)
    assert masks.converged.all() and masks.sparsity.max() < 1
    same = learn(network, x, network(x).detach(), **given)
    torch.testing.assert_close(same.objective, masks.objective, rtol=1e-5, atol=0)  # rounding


def test_outputs_that_name_no_class_take_the_authors_schedule_too():
    x, y = small_images(4)
    masks = learn_dataset_mask(lambda x: x.flatten(1).sum(1), x, loss="squared_error", schedule="authors", weight=0,
                               progress=False)
    assert masks.converged and masks.prediction_kept.isnan() and masks.labels.tolist() == [-1]


def test_a_class_of_one_image_has_the_images_own_mask():
    model, (x, y) = small_network(), small_images(3)
    classes = learn_class_masks(model, x, y, weight=0.07, progress=False)
    images = learn_image_masks(model, x, y, progress=False)
    assert (classes.objective - 1 < 1.02 * (images.objective - 1)).all()  # both settled; the one keeps no prediction


def test_starts_are_masks_side_by_side_the_best_first():
    model, (x, y) = small_network(), small_images()
    three = learn_class_masks(model, x, y, starts=3, progress=False)
    assert three.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2] and three.settings["starts"] == 3
    best = three.objective.view(3, 3)
    assert (best.diff(dim=1) >= 0).all()
    ones = learn_class_masks(model, x, y, progress=False)
    assert (best[:, 0] <= ones.objective + 1e-6).all()  # the first start is the usual one
    again = learn_class_masks(model, x, y, starts=3, progress=False)
    assert torch.equal(again.masks, three.masks)
    data = learn_dataset_mask(model, x, y, starts=2, progress=False)
    assert len(data) == 2 and (~data.trace["sparsity"].isnan()).sum(1).tolist() == data.steps.tolist()
    assert data[1].trace["sparsity"][0, 0] == data.trace["sparsity"][1, 0]


@pytest.mark.parametrize("shuffle", [False, True])
def test_reading_leaves_the_random_state(shuffle):
    "A loader draws from the world's generator, its order or the seed of its workers."
    x, y = small_images()
    state = torch.get_rng_state()
    for source in (TensorDataset(x, y), DataLoader(TensorDataset(x, y), 5, shuffle=shuffle)):
        learn_dataset_mask(small_network(), source, progress=False)
        assert torch.equal(torch.get_rng_state(), state)


def test_images_that_do_not_fit_are_refused_while_they_are_read(monkeypatch):
    x, y = small_images()
    monkeypatch.setattr(reading, "free_memory", lambda device: 3 * 8 * x[0].nbytes)
    with pytest.raises(ValueError, match="third of the free memory; 10 of them do not"):
        learn_dataset_mask(small_network(), DataLoader(TensorDataset(x, y), 5), progress=False)


def test_a_sample_takes_as_many_of_each_mask_and_says_so(monkeypatch):
    owner = torch.tensor([0] * 90 + [1] * 8 + [2] * 2)
    assert sampled(owner, 10, 0).tolist() == list(range(100))
    monkeypatch.setattr(page, "MOST_BYTES", 4 * 10 * 12)
    with pytest.warns(UserWarning, match="the mask is learned of 10 of them"):
        rows = sampled(owner, 10, 0)
    assert torch.bincount(owner[rows]).tolist() == [4, 4, 2] and (rows.diff() > 0).all()
    with pytest.warns(UserWarning): other = sampled(owner, 10, 1)
    assert not torch.equal(rows, other)
    model, (x, y) = small_network(), small_images()
    monkeypatch.setattr(page, "MOST_BYTES", 4 * 16 * 6 * 2)  # 16 orbits, half of the images from each of two starts
    with pytest.warns(UserWarning, match="of 6 of them"):
        masks = learn_dataset_mask(model, x, y, starts=2, progress=False)
    assert masks.settings["learned_of"] == 6 and masks.settings["images"] == 12


@pytest.mark.parametrize("kind", ["smooth", "kinks"])
def test_the_objective_is_that_of_a_plain_loop_or_below(kind):
    model = small_network() if kind == "smooth" else relu_network(scale=3.0).double()
    x, y = sure_images(model, 3)
    masks = learn_image_masks(model, x, y, **QUIET)
    theirs, _ = least_objectives(model, x, y, steps=800)
    excess = (masks.objective - 1) / theirs  # what either leaves above 1
    assert masks.converged.all() and masks.prediction_kept.all()
    # settled: a step would bring a hundredth; kinks leave several minima nearby
    assert excess.max() < (1.01 if kind == "smooth" else 1.15) and excess.mean() < 1.01, excess


def trained_statistics(size=(32, 32)):
    "A real architecture, untrained, whose batch norms have statistics."
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network, x = vgg11(3, width=0.125, size=size), torch.rand(11, 1, *size)
        with torch.no_grad():
            for _ in range(50): network(torch.rand(32, 1, *size))
    return network.eval(), x


@pytest.mark.filterwarnings("ignore:.*had not settled")
@pytest.mark.parametrize("initial", ["ones", "random"])
def test_order_batches_and_neighbours_do_not_matter_to_the_last_bit(initial):
    network, x = trained_statistics()
    y = torch.arange(11) % 3

    def learn(rows, batch_size):
        given = dict(batch_size=batch_size, steps=30, weight=0.01, initial=initial, **QUIET)
        return learn_image_masks(lambda x: 20 * network(x), x[rows], y[rows], **given)

    rows = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    first = learn(torch.arange(11), 11)
    others = learn(rows, 11)[rows.argsort()], learn(torch.arange(11), 5), learn(torch.tensor([7, *range(11)]), 64)[1:]
    assert len(first.steps.unique()) > 1  # they leave at different times
    for other in others:
        torch.testing.assert_close(other.objective.mean() - 1, first.objective.mean() - 1, rtol=0.1, atol=0)  # anywhere
        if platform.machine() == "x86_64":  # what oneDNN keeps where the multiple of four was measured
            assert torch.equal(other.masks, first.masks) and torch.equal(other.steps, first.steps)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_loss_of_ones_own_gets_its_targets_wherever_it_is_asked(batch_size):
    "Also where memory is measured, before the first batch."
    model, (x, _) = small_network(), small_images()
    targets = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = set()

    def loss(out, clean, y):
        if out.shape[1] == 3: seen.add(tuple(y.shape[1:]))  # not where it is asked what it computes
        return (out - y).square().mean(1)

    masks = learn_image_masks(model, x, targets, loss=loss, batch_size=batch_size, **QUIET)
    assert seen == {(3,)} and masks.settings["loss"]["name"] == "loss" and masks.objective.isfinite().all()


@pytest.mark.parametrize("steps", [None, 3])
def test_the_bar_counts_masks_whether_they_settle_or_not(monkeypatch, steps):
    shown = []

    class Bar(learner_module.MaskBar):
        def update(self, n=1):
            super().update(n)
            shown.append(self.n)

    monkeypatch.setattr(learner_module, "MaskBar", Bar)
    model, (x, y) = small_network(), small_images()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        learn_image_masks(model, x, y, batch_size=5, progress=True, **({} if steps is None else {"steps": steps}))
    assert shown == sorted(shown) and shown[-1] == 12


def test_a_network_in_train_mode_is_run_in_eval_and_its_folding_changes_little():
    model = relu_network().double()
    x, y = small_images()
    trained = learn_image_masks(model.train(), x, y, **QUIET)
    assert all(m.training for m in model.modules())
    assert torch.equal(learn_image_masks(model.eval(), x, y, **QUIET).masks, trained.masks)
    whole = learn_image_masks(lambda x: model(x), x, y, **QUIET)  # a function cannot be folded
    torch.testing.assert_close(whole.objective, trained.objective, rtol=1e-4, atol=0)  # settled; double precision


def test_half_precision_changes_the_objective_by_less_than_a_tenth_and_tf32_leaves_the_switches_alone():
    model = relu_network(scale=3.0)
    x, y = sure_images(model, 12, dtype=torch.float32)
    plain, half, tf32 = (learn_image_masks(model, x, y, precision=precision, **QUIET)
                         for precision in ("float32", "bf16", "tf32"))
    excess = (half.objective - 1).mean() / (plain.objective - 1).mean()
    assert excess < 1.1, excess  # of what exceeds 1; bfloat16 has 8 bits
    assert half.settings["precision"] == "bf16" and not torch.equal(half.masks, plain.masks)
    assert torch.equal(tf32.masks, plain.masks)  # a processor has none


def test_batches_are_filled_up_to_fours_unless_smaller_ones_are_asked_for_or_an_image_is_alone():
    inner, (x, y), seen = small_network(), small_images(5), set()

    def model(x):
        if x.requires_grad: seen.add(len(x))
        return inner(x)

    # two images, to see what it answers
    for n, batch_size, sizes in ((5, 5, {2, 4, 8}), (5, 2, {1, 2}), (1, 64, {1, 2})):
        seen.clear()
        learn_image_masks(model, x[:n], y[:n], batch_size=batch_size, **QUIET)
        assert seen <= sizes


@pytest.mark.parametrize("weight", [0.0, 1e-9, 1e6])
@pytest.mark.parametrize("goal", ["keep", "change"])
def test_any_weight_is_safe(weight, goal):
    model, (x, y) = small_network(), small_images(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nothing can settle where nothing is worth a step
        part = "filter" if goal == "keep" else "rest"
        masks = learn_image_masks(model, x, y, weight=weight, goal=goal, part=part, **QUIET)
    assert masks.masks.isfinite().all() and masks.objective.isfinite().all()
    if goal == "keep" and not weight: assert (masks.objective < 1 + 1e-6).all()  # rounding of the losses, squared


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_mask_of_a_large_plane_moves(precision):
    "25,090 numbers, of which each is worth 3e-6: nothing may be lost in rounding, and no tolerance be too coarse."
    generator, dtype = torch.Generator().manual_seed(0), getattr(torch, precision)
    line = torch.arange(224.0)
    wave = torch.cos(2 * torch.pi * 5 * line / 224).expand(224, 224).to(dtype)

    def model(x):
        found = (x[:, 0] * wave).mean((1, 2)) * 8
        return torch.stack([-found, found], 1)

    x = (0.5 * torch.randn(2, 1, 224, 224, generator=generator)).to(dtype) + wave
    masks = learn_image_masks(model, x, **QUIET)
    assert (masks.masks > 0.01).sum((1, 2, 3)).tolist() == [2, 2] and masks.converged.all()
