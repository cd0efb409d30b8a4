"Minimal sets: each orbit that is kept is needed, whatever the number of candidates."
from dataclasses import replace

import pytest
import torch
from small import small_images, small_network

from fourier_mask.goal import classes_of
from fourier_mask.learn import learn_image_masks
from fourier_mask.minimal import minimal_sufficient
from fourier_mask.spectrum import mirror

SIZE = (8, 8)  # 34 orbits
MODEL, (X, _) = small_network(SIZE), small_images(4, SIZE)


@pytest.fixture(scope="module")
def learned(): return learn_image_masks(MODEL, X, progress=False)


def graded(masks, share):
    "The same set with masks of random entries, of which a share is zero: more than can be tried one and all."
    planes = torch.rand(masks.masks.shape, generator=torch.Generator().manual_seed(0))
    planes = (planes + mirror(planes, (-2, -1))) / 2
    return replace(masks, masks=planes * (planes > planes.flatten(1).quantile(share, 1).view(-1, 1, 1, 1)))


def kept_by(mask, i):
    "Whether a mask on the full plane keeps the answer, by torch's own transform."
    filtered = torch.fft.ifft2(mask * torch.fft.fft2(X[i : i + 1])).real
    return bool(classes_of(MODEL(filtered)) == classes_of(MODEL(X[i : i + 1])))


@pytest.mark.parametrize("share", [None, 0.5, 0.0])
def test_without_any_orbit_of_it_the_answer_falls(learned, share):
    "Of learned masks, which leave few candidates, of masks with half of the orbits, and with all of them."
    masks = learned if share is None else graded(learned, share)
    found = minimal_sufficient(MODEL, X, masks)
    for i in range(len(X)):
        mask = found.masks[i, 0].double()
        assert kept_by(mask, i) == bool(found.prediction_kept[i]) and not (mask > masks.masks[i, 0].sign()).any()
        if not found.converged[i]: continue
        for row, column in (mask > 0).nonzero().tolist():
            less = mask.clone()
            less[row, column] = less[-row % 8, -column % 8] = 0
            assert not kept_by(less, i)
    assert found.converged.any()


def test_complements_have_minimal_sets_too(learned):
    "A binary complement has nearly every orbit for a candidate, and all of them of one size."
    found = minimal_sufficient(MODEL, X, learned.complement())
    assert not ((found.masks > 0) & (learned.masks > 1e-8)).any() and len(found) == len(X)


@pytest.mark.parametrize(("change", "message"), [
    (dict(batch_size=0), "batch_size must be a whole number of images, at least 1; got 0"),
    (dict(batch_size=None), "batch_size must be a whole number of images, at least 1; got None"),
    (dict(output_fn=lambda out: out[:, :1]), r"model must return logits .* got \(1, 1\)"),
])
def test_what_has_no_minimal_sets_is_refused(learned, change, message, annotations_off):
    with pytest.raises(ValueError, match=message): minimal_sufficient(MODEL, X, learned, **change)
