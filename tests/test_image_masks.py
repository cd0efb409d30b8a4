"Masks of single images: quality against a plain loop, independence of each other, odd input."
import json
import platform

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import AnyAnswer, authors_planes, filtered, least_objectives
from small import in_unit, small_images, small_network
from torch import nn

from fourier_mask import Normalized, learn_image_masks
from fourier_mask import learner as learner_module
from fourier_mask.dataset_mask import learn_dataset_mask
from fourier_mask.descent import in_fours
from fourier_mask.learner import find_batch_size, parts_of, problem_of, saved_bytes, starts_of
from fourier_mask.models import vgg11
from fourier_mask.prepare import prepared
from fourier_mask.settings import ImageMaskSettings

QUIET = dict(progress=False)


@pytest.mark.parametrize("tolerance", [None, 1e-5])
def test_the_objective_is_at_or_below_that_of_a_plain_loop(tolerance):
    model, (x, y) = small_network(), small_images()
    theirs, _ = least_objectives(model, x, y)
    asked = dict(goal=AnyAnswer(), tolerance=tolerance, keep_prediction=False)
    ours = learn_image_masks(model, x, y, **asked, **QUIET)
    excess = (ours.objective - 1) / theirs  # what either leaves of the objective above its least value, 1
    assert ours.converged.all()
    # a mask stops after two steps in a row that promise less than the tolerance, 0.5 % if not given, of what is left;
    # with next to none there is still float32 storage of values near 1.0004, 1e-7 of 4e-4
    assert excess.max() < (1.02 if tolerance is None else 1.001) and excess.mean() < 1.005, excess


def test_a_mask_that_keeps_the_prediction_is_worth_twice_one_that_does_not():
    model, (x, y) = small_network(), small_images()
    theirs, planes = least_objectives(model, x, y)
    keeps = model(filtered(planes, x)).argmax(1) == model(x).argmax(1)
    assert keeps.any() and not keeps.all()
    ours = learn_image_masks(model, x, y, **QUIET)
    excess = (ours.objective - 1) / theirs
    assert ours.prediction_kept[keeps].all() and excess[keeps].max() < 1.02  # where the lowest mask keeps it, as above
    assert ours.prediction_kept.mean() >= keeps.float().mean() and excess.max() < 2 * 1.02  # elsewhere at most twice


def test_each_mask_is_what_it_would_be_alone():
    model, (x, y) = small_network(), small_images()
    together = learn_image_masks(model, x, y, **QUIET)
    alone = [learn_image_masks(model, x[i : i + 1], y[i : i + 1], **QUIET) for i in range(len(x))]
    # double precision inside, float32 storage
    torch.testing.assert_close(together.masks, torch.cat([mask.masks for mask in alone]), rtol=0, atol=1e-6)
    assert together.steps.tolist() == [mask.steps.item() for mask in alone]
    turned = learn_image_masks(model, x.flip(0), y.flip(0), batch_size=5, **QUIET)
    assert torch.equal(turned.index, torch.arange(len(x))) and torch.equal(turned.labels.flip(0), y)
    torch.testing.assert_close(turned.masks.flip(0), together.masks, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*had not settled")  # so few steps settle some masks, which leave one by one
@pytest.mark.skipif(platform.machine() != "x86_64", reason="what oneDNN keeps where in_fours was measured")
def test_order_and_batches_do_not_matter_to_the_last_bit():
    torch.manual_seed(0)
    network, x = vgg11(3, width=0.125, size=(32, 32)), torch.rand(11, 1, 32, 32)
    with torch.no_grad():
        for _ in range(50): network(torch.rand(32, 1, 32, 32))  # statistics for its batch norms
    network.eval()

    def learn(rows, batch_size):
        y = torch.arange(11)[rows] % 3
        return learn_image_masks(lambda x: 20 * network(x), x[rows], y, batch_size=batch_size, steps=25, **QUIET)

    rows = torch.randperm(11)
    first, turned, cut = learn(torch.arange(11), 11), learn(rows, 11)[rows.argsort()], learn(torch.arange(11), 5)
    assert len(first.steps.unique()) > 1
    for other in (turned, cut): assert torch.equal(other.masks, first.masks) and torch.equal(other.steps, first.steps)


@pytest.mark.filterwarnings("ignore:.*had not settled")
def test_weights_rounded_once_give_the_masks_of_weights_rounded_in_every_pass(monkeypatch):
    torch.manual_seed(0)
    network, x = vgg11(3, width=0.125, size=(32, 32)), torch.rand(5, 1, 32, 32)
    once = learn_image_masks(network, x, precision="bf16", steps=3, **QUIET)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    asked = []
    monkeypatch.setattr("fourier_mask.prepare.rounded_once", lambda network: asked.append(network) or network)
    each_time = learn_image_masks(network, x, precision="bf16", steps=3, **QUIET)
    assert asked and torch.equal(each_time.masks, once.masks)


def test_duplicates_get_the_same_mask_and_the_measures_are_true():
    model, (x, y) = small_network(), small_images()
    x, y = x[[0, 1, 0]], y[[0, 1, 0]]
    masks = learn_image_masks(model, x, y, **QUIET)
    torch.testing.assert_close(masks.masks[0], masks.masks[2], rtol=0, atol=1e-6)  # float32 storage
    torch.testing.assert_close(masks.sparsity, masks.masks.mean((1, 2, 3)))
    torch.testing.assert_close(masks.objective, masks.invariance + 0.07 * masks.sparsity)
    logits, clean = model(masks.apply(x)), model(x)
    change = F.cross_entropy(logits, y, reduction="none") - F.cross_entropy(clean, y, reduction="none")
    # masks stored in float32 move a loss by 1e-7
    torch.testing.assert_close(masks.invariance.double(), torch.exp(change**2).detach(), rtol=1e-6, atol=0)
    assert torch.equal(masks.prediction_kept.bool(), logits.argmax(1) == clean.argmax(1))


def test_labels_default_to_the_models_predictions_and_wrong_ones_are_kept_and_counted():
    model, x = small_network(), small_images()[0]
    predicted = model(x).argmax(1)
    masks = learn_image_masks(model, x, **QUIET)
    assert torch.equal(masks.labels, predicted) and not masks.misclassified.any()
    labels = (predicted + torch.arange(len(x)) % 2) % 3
    wrong = learn_image_masks(model, x, labels, **QUIET)
    assert torch.equal(wrong.predictions, predicted) and torch.equal(wrong.labels, labels)
    assert wrong.misclassified.tolist() == [bool(i % 2) for i in range(len(x))]


def test_masks_that_do_not_settle_are_told_once_and_one_that_does_leaves():
    model, (x, y) = small_network(), small_images()
    with pytest.warns(UserWarning, match="12 of 12 masks had not settled") as told:
        short = learn_image_masks(model, x, y, steps=3, batch_size=5, **QUIET)
    assert len(told) == 1 and not short.converged.any() and (short.steps == 3).all()
    masks = learn_image_masks(model, x, y, tolerance=1e-3, keep_prediction=False, **QUIET)
    assert masks.converged.all() and masks.steps.max() < 30 and len(masks.steps.unique()) > 1


def test_the_authors_schedule_is_their_rate_and_their_steps():
    "Torch's own optimizer and scheduler, which is laid out for 200 times the steps, on the full plane."
    model, (x, y), steps = small_network(), small_images(2), 60
    with pytest.warns(UserWarning, match="2 of 2 masks had not settled"):
        ours = learn_image_masks(model, x, y, schedule="authors", steps=steps, **QUIET)
    assert ours.settings["schedule"] == "authors" and (ours.steps == steps).all()
    for i in range(len(x)):
        plane = authors_planes(model, x, y, [i] * steps, 0.2, weight=0.07, stretch=200)[-1]
        assert (plane < 0.8).any()
        # steps of 0.008, each off by Adam's ε of 1e-8 beside gradients of 0.07/30; float32 storage
        torch.testing.assert_close(ours.masks[i, 0], plane.float(), rtol=0, atol=1e-5)


def test_the_authors_rule_stops_a_mask_whose_terms_stand_still():
    "Images of zeros, without a penalty, move no mask: three hundred steps without change after the first."
    model, (x, y) = small_network(), small_images(2)
    masks = learn_image_masks(model, 0 * x, y, schedule="authors", weight=0, **QUIET)
    assert masks.converged.all() and (masks.steps == 301).all()


def test_out_of_memory_halves_the_batch_and_says_so_once():
    inner, (x, y) = small_network(), small_images()

    def model(x):
        if len(x) > 3: raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(x)

    with pytest.warns(UserWarning, match="out of memory with batches of 12 images") as told:
        masks = learn_image_masks(model, x, y, batch_size=12, **QUIET)
    assert len(told) == 1 and masks.settings["batch_size"] == 3
    assert torch.equal(masks.masks, learn_image_masks(inner, x, y, batch_size=3, **QUIET).masks)


def test_a_single_image_that_does_not_fit_is_an_error():
    inner, (x, y), calls = small_network(), small_images(), []

    def model(x):
        calls.append(len(x))
        if len(calls) > 3: raise torch.OutOfMemoryError("CUDA out of memory")  # the first three ask what it is
        return inner(x)

    with pytest.warns(UserWarning, match="out of memory"), pytest.raises(torch.OutOfMemoryError):
        learn_image_masks(model, x, y, batch_size=2, **QUIET)
    assert calls[-1] == 1


def test_the_batch_size_follows_the_memory_and_memory_the_batch(monkeypatch):
    model, (x, y) = small_network(), small_images()
    settings, parts = ImageMaskSettings(), parts_of((6, 5))
    with prepared(model, x) as network:
        problem, source = problem_of(network, x, y, torch.arange(12), settings, parts, 12)
        one, two, four = (saved_bytes(problem, source[torch.arange(n)], starts_of(problem, settings, source, n))
                          for n in (1, 2, 4))
    assert four - two == 2 * (two - one) > 0  # linear in the batch
    for images, size in {0: 1, 1: 1, 4: 4, 7: 4, 8: 8}.items():
        # memory for so many, twice over as a step takes it, and half of it free to us
        monkeypatch.setattr(learner_module, "free_memory", lambda device, n=images: 4 * n * (two - one))
        assert find_batch_size(model, x, settings, parts, labels=y) == size
    monkeypatch.setattr(learner_module, "free_memory", lambda device: 4 * 8 * (two - one))
    assert find_batch_size(model, x, settings, parts, sharers=2) == 4
    monkeypatch.setattr(learner_module, "free_memory", lambda device: 10**15)
    assert find_batch_size(model, x, settings, parts) == 64
    assert learn_image_masks(model, x, y, **QUIET).settings["batch_size"] == 64


def test_an_infinite_objective_costs_its_own_mask_only():
    "Beside an image whose logits differ by 1e38, so that rounding of the transform alone leaves the range of numbers."
    inner, (x, y) = small_network().float(), small_images()
    x, y = x.float(), y.clone()
    x[4], y[4] = 50 + x[4], 0

    def model(x):
        total = x.sum((1, 2, 3))
        wild = torch.stack([0 * total, total * 1e35, 0 * total], 1)
        return torch.where((total > 900)[:, None], wild, inner(x))

    with pytest.warns(UserWarning, match="1 of 12 masks had not settled") as told:
        masks = learn_image_masks(model, x, y, **QUIET)
    assert len(told) == 1 and (~masks.converged).nonzero().flatten().tolist() == [4]
    assert masks.masks[4].min() > 0.9 and masks.masks.isfinite().all()  # it stays where it was last a number
    others = torch.arange(12) != 4
    assert masks.objective[others].isfinite().all()
    plain = learn_image_masks(inner, x[others], y[others], **QUIET)
    # other batches, other rounding: of what exceeds 1, the 1 % at which a mask stops
    torch.testing.assert_close(masks.objective[others] - 1, plain.objective - 1, rtol=0.01, atol=0)


def test_a_network_in_train_mode_is_run_in_eval_and_left_as_it_was():
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
              nn.Linear(4, 3))
    model = nn.Sequential(*layers).double()
    x, y = small_images()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    trained = learn_image_masks(model.train(), x, y, initial="random", **QUIET)
    assert all(m.training for m in model.modules()) and all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(learn_image_masks(model.eval(), x, y, initial="random", **QUIET).masks, trained.masks)


def test_bf16_changes_the_objective_little_and_tf32_nothing_on_a_processor():
    model, (x, y) = small_network().float(), small_images()
    x = x.float()
    plain, half, tf32 = (learn_image_masks(model, x, y, goal=AnyAnswer(), precision=precision, **QUIET)
                         for precision in ("float32", "bf16", "tf32"))
    # of what exceeds 1; bfloat16 has 8 bits
    torch.testing.assert_close(half.objective.mean() - 1, plain.objective.mean() - 1, rtol=0.1, atol=0)
    assert half.settings["precision"] == "bf16" and torch.equal(tf32.masks, plain.masks)
    assert not torch.equal(half.masks, plain.masks)


def test_batches_are_filled_up_to_fours_unless_smaller_ones_are_asked_for():
    for n in range(1, 9): assert in_fours(torch.arange(n)).tolist() == [*range(n), *[0] * (-n % 4)]
    inner, (x, y), seen = small_network(), small_images(5), []

    def model(x):
        if x.requires_grad: seen.append(len(x))
        return inner(x)

    filled = learn_image_masks(model, x, y, batch_size=5, **QUIET)
    assert len(filled) == 5 and len(seen) > 1 and all(n % 4 == 0 for n in seen[1:])  # the first asks for gradients
    seen.clear()
    learn_image_masks(model, x, y, batch_size=2, **QUIET)
    assert set(seen) <= {1, 2}


def test_the_bar_counts_masks(monkeypatch):
    bars, shown = [], []

    class Bar(learner_module.MaskBar):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            bars.append(self)

        def update(self, n=1):
            super().update(n)
            shown.append(self.n)

    monkeypatch.setattr(learner_module, "MaskBar", Bar)
    model, (x, y) = small_network(), small_images()
    masks = learn_image_masks(model, x, y, batch_size=5, progress=True)
    assert shown == sorted(shown) and shown[-1] == 12 and len(set(shown)) > 3  # more often than there are batches
    assert bars[0].total == 12 and bars[0].size == pytest.approx(masks.sparsity.sum().item(), rel=1e-5)  # float32


def test_an_image_that_has_nothing_to_keep_gets_an_empty_mask():
    masks = learn_image_masks(small_network(), torch.zeros(1, 1, 6, 5).double(), **QUIET)
    assert masks.sparsity == 0 and masks.objective == 1 and masks.converged


def test_constant_images_differ_at_zero_frequency_only():
    masks = learn_image_masks(small_network(), torch.full((2, 1, 6, 5), 0.3).double(), **QUIET)
    rest = masks.masks.clone()
    rest[..., 0, 0] = 0
    assert masks.converged.all() and rest.max() == 0 and (masks.objective < 1.07).all()


def both_signs(x):
    total = x.sum((1, 2, 3))
    return torch.stack([total, -total], 1)


def test_one_pixel():
    masks = learn_image_masks(both_signs, torch.ones(2, 1, 1, 1), **QUIET)
    assert masks.masks.shape == (2, 1, 1, 1) and masks.objective.max() < 1.07 and masks.converged.all()


def test_one_pixel_of_three_channels_with_a_mask_each():
    masks = learn_image_masks(both_signs, torch.ones(2, 3, 1, 1), channels=3, **QUIET)
    assert masks.masks.shape == (2, 3, 1, 1) and masks.objective.max() < 1.07 and masks.converged.all()


@pytest.mark.parametrize("p", [1, 1.5])
def test_the_size_is_the_norm_that_was_asked_for(p):
    model, (x, y) = small_network(), small_images(4)
    masks = learn_image_masks(model, x, y, p=p, **QUIET)
    torch.testing.assert_close(masks.sparsity, (masks.masks**p).mean((1, 2, 3)) ** (1 / p))
    assert (masks.objective < 1.07).all() and masks.settings["p"] == p


def test_a_normalized_model_is_masked_behind_its_centring_and_output_fn_picks_its_logits():
    network, (x, y) = small_network(), small_images()
    x = in_unit(x)

    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x): return {"logits": self.network(x)}

    model = Normalized(Answers(), 0.25, 0.5).double()  # both exact in float32
    inside = learn_image_masks(model, x, y, output_fn=lambda out: out["logits"], **QUIET)
    outside = learn_image_masks(network, (x - 0.25) / 0.5, y, **QUIET)
    torch.testing.assert_close(inside.masks, outside.masks, rtol=0, atol=1e-6)  # double precision, float32 storage


@pytest.mark.parametrize(("change", "error", "message"), [
    (dict(images=torch.zeros(0, 1, 6, 5).double()), ValueError, "nothing empty"),
    (dict(images=np.zeros((12, 1, 6, 5), int)), TypeError, "images must be floating point"),
    (dict(labels=torch.full((12,), 3)), ValueError, "labels must lie in 0 … 2"),
    (dict(labels=torch.arange(5) % 3), ValueError, "labels must be whole numbers.*one for each image"),
    (dict(steps=0), ValueError, "steps = 0 is not allowed"),
    (dict(steps=True), ValueError, "steps = True is not allowed: it must be a whole number"),
    (dict(weight=-1), ValueError, "weight = -1.0 is not allowed"),
    (dict(wieght=1), ValueError, "wieght = 1 is not allowed"),
    (dict(batch_size=0), ValueError, "batch_size must be a whole number of images"),
    (dict(channels=2), ValueError, "channels must be 1 or 1"),
    (dict(schedule="slow"), ValueError, "schedule = 'slow' is not allowed"),
    (dict(precision="int8"), ValueError, "precision = 'int8' is not allowed"),
    (dict(form="Squares"), ValueError, "form must be one of Free, Rings"),
    (dict(goal="lose"), ValueError, "goal must be one of keep, change"),
    (dict(loss="hinge"), ValueError, "loss must be one of cross_entropy"),
    (dict(model=lambda x: {"logits": x}), TypeError, "model must return a tensor; got dict. Pass output_fn="),
    (dict(model=lambda x: x.flatten(1).detach()), ValueError, r"gradients.*Take torch.no_grad\(\), detach\(\)"),
])
def test_bad_input_is_refused(change, error, message, annotations_off):
    x, y = small_images()
    with pytest.raises(error, match=message):
        learn_image_masks(**dict(model=small_network(), images=x, labels=y, progress=False) | change)


def test_a_mask_that_needs_much_of_a_large_image_ends_below_ones_and_nothing():
    "Many frequencies matter a little: the first steps go too far, and the mask has to find back."
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(1, 64, 64, generator=generator, dtype=torch.float64)

    def model(x): return torch.stack([(x * direction).sum((1, 2, 3)), 0 * x[:, 0, 0, 0]], 1) / 900

    x = direction[None] + 0.1 * torch.randn(4, 1, 64, 64, generator=generator, dtype=torch.float64)
    y = torch.zeros(4, dtype=torch.long)
    masks = learn_image_masks(model, x, y, weight=1e-3, **QUIET)
    assert masks.converged.all() and masks.objective.max() < 1 + 1e-3  # that of the mask of ones, where it starts
    nothing, clean = (F.cross_entropy(model(z), y, reduction="none") for z in (0 * x, x))
    assert (masks.objective < torch.exp((nothing - clean) ** 2)).all() and masks.sparsity.min() > 0


def test_gradients_switched_off_outside_and_images_that_want_them_change_nothing():
    model, (x, y) = small_network(), small_images(4)
    with torch.no_grad(): masks = learn_image_masks(model, x.clone().requires_grad_(), y, **QUIET)
    assert torch.equal(masks.masks, learn_image_masks(model, x, y, **QUIET).masks)


def test_settings_are_json_and_hold_all_that_was_asked_for():
    model, (x, y) = small_network(), small_images(4)
    masks = learn_image_masks(model, x, y, steps=np.int64(150), tolerance=np.float64(1e-3), **QUIET)
    asked = ImageMaskSettings(steps=150, tolerance=1e-3).model_dump()
    assert json.loads(json.dumps(masks.settings)) == masks.settings == masks.settings | asked
    assert masks.settings["learner"] == "image" and masks.settings["batch_size"] == 64


@pytest.mark.parametrize(("precision", "inside"), [("float32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")])
def test_a_gpu_rounds_as_asked_inside_and_as_before_outside(precision, inside):
    switches, seen = (torch.backends.cuda.matmul, torch.backends.cudnn.conv), set()
    network, (x, y) = small_network().float(), small_images(4)
    before = [switch.fp32_precision for switch in switches]

    def model(images):
        seen.update(switch.fp32_precision for switch in switches)
        return network(images)

    learn_image_masks(model, x.float(), y, precision=precision, batch_size=4, **QUIET)
    learn_dataset_mask(model, x.float(), y, precision=precision, batch_size=4, **QUIET)
    assert seen == {inside} and [switch.fp32_precision for switch in switches] == before


def test_how_often_it_looks_which_masks_are_done_changes_nothing(monkeypatch):
    "On a GPU it looks every eighth step; a mask that is done before stands still until then."
    model, (x, y) = small_network(), small_images()
    often = learn_image_masks(model, x, y, **QUIET)
    monkeypatch.setattr(learner_module, "LOOK", {"cpu": 7})
    seldom = learn_image_masks(model, x, y, **QUIET)
    assert len(set(often.steps.tolist())) > 1
    assert all(torch.equal(getattr(often, name), getattr(seldom, name))
               for name in ("masks", "steps", "converged", "objective"))
