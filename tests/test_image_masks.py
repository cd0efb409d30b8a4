"Masks of single images: quality against the authors' loop, independence of each other, odd input."
import pytest
import torch
import torch.nn.functional as F
from test_learn import small_images, small_network

from fourier_mask import learn_image_masks
from fourier_mask.learn import one_cycle


def authors_loop(model, x, y, weight=0.07, steps=1500):
    "One image, the full plane, Adam near 0.008, for so long that it has settled."
    with torch.no_grad(): clean = F.cross_entropy(model(x), y)
    plane = torch.ones(x.shape[-2:], dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([plane], 0.008, betas=(0.95, 0.999))
    for _ in range(steps):
        loss = torch.exp((F.cross_entropy(model(torch.fft.ifft2(plane * torch.fft.fft2(x)).real), y) - clean) ** 2) + weight * plane.abs().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        with torch.no_grad(): plane.clamp_(0, 1)
    return loss.item()


def test_the_objective_is_that_of_the_authors_loop():
    model, (x, y) = small_network(), small_images(6)
    masks = learn_image_masks(model, x, y, progress=False)
    theirs = torch.tensor([authors_loop(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    excess = (masks.objective - 1) / (theirs - 1)  # what either leaves of the objective above its least value, 1
    assert excess.max() < 1.005, excess  # float32 storage of values near 1.01: 1e-7 of 1e-2 or less, and the stopping tolerance 1e-5 on as much


def test_each_mask_is_what_it_would_be_alone():
    model, (x, y) = small_network(), small_images()
    together = learn_image_masks(model, x, y, progress=False)
    alone = [learn_image_masks(model, x[i : i + 1], y[i : i + 1], progress=False) for i in range(len(x))]
    torch.testing.assert_close(together.objective, torch.cat([mask.objective for mask in alone]), rtol=1e-6, atol=0)  # double precision inside
    turned = learn_image_masks(model, x.flip(0), y.flip(0), batch_size=5, progress=False)
    torch.testing.assert_close(turned.masks.flip(0), together.masks, rtol=0, atol=1e-4)


def test_duplicates_get_the_same_mask_and_the_measures_are_true():
    model, (x, y) = small_network(), small_images()
    masks = learn_image_masks(model, x[[0, 1, 0]], y[[0, 1, 0]], progress=False)
    torch.testing.assert_close(masks.masks[0], masks.masks[2], rtol=0, atol=1e-6)
    torch.testing.assert_close(masks.sparsity, masks.masks.mean((1, 2, 3)))
    torch.testing.assert_close(masks.objective, masks.invariance + 0.07 * masks.sparsity)
    logits = model(masks.apply(x[[0, 1, 0]]))
    assert torch.equal(masks.prediction_kept.bool(), logits.argmax(1) == model(x[[0, 1, 0]]).argmax(1))


def test_labels_default_to_the_models_predictions_and_wrong_ones_are_kept():
    model, (x, y) = small_network(), small_images()
    assert torch.equal(learn_image_masks(model, x, steps=2, progress=False).labels, model(x).argmax(1))
    assert torch.equal(learn_image_masks(model, x, y, steps=2, progress=False).labels, y)


def test_a_mask_that_does_not_settle_says_so_and_one_that_does_leaves():
    model, (x, y) = small_network(), small_images()
    assert not learn_image_masks(model, x, y, steps=3, progress=False).converged.any()
    masks = learn_image_masks(model, x, y, tolerance=1e-3, progress=False)
    assert masks.converged.all() and masks.steps.max() < 200 and len(masks.steps.unique()) > 1


@pytest.mark.parametrize("x", [torch.full((2, 1, 6, 5), 0.3), torch.zeros(1, 1, 6, 5)], ids=["constant", "one image"])
def test_odd_images(x):
    masks = learn_image_masks(small_network(), x.double(), progress=False)
    assert masks.masks.isfinite().all() and (masks.objective <= 1.07 + 1e-6).all()
    if x.max() == 0: assert masks.sparsity.max() == 0  # nothing to keep in an image of zeros


def test_one_pixel_and_channels():
    masks = learn_image_masks(lambda x: torch.stack([x.sum((1, 2, 3)), -x.sum((1, 2, 3))], 1), torch.ones(2, 3, 1, 1), channels=3, steps=20, progress=False)
    assert masks.masks.shape == (2, 3, 1, 1) and masks.objective.isfinite().all()


def test_the_rate_rises_and_falls_to_zero():
    rates = [one_cycle(step, 200, 0.2) for step in range(1, 201)]
    assert max(rates) == pytest.approx(0.2) and rates.index(max(rates)) == 19 and rates[-1] == pytest.approx(0, abs=1e-12) and rates[0] < 0.02


@pytest.mark.parametrize(("change", "message"), [
    (dict(images=torch.zeros(0, 1, 6, 5).double()), "nothing empty"), (dict(labels=torch.full((12,), 3)), "labels must lie in"),
    (dict(steps=0), "steps must be at least 1"), (dict(weight=-1), "weight must be"), (dict(batch_size=0), "batch_size must be"), (dict(channels=2), "2 channels"),
])
def test_bad_input_is_refused(change, message):
    x, y = small_images()
    with pytest.raises(ValueError, match=message): learn_image_masks(**dict(model=small_network(), images=x, labels=y, progress=False) | change)
