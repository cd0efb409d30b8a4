"Data sets, the five regimes, the attack."
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as transforms

from fourier_mask import Normalized
from fourier_mask.data import Data, Images, fashion5, planted
from fourier_mask.models import ARCHITECTURES, load_checkpoint, save_checkpoint
from fourier_mask.train import REGIMES, AttackSettings, TrainSettings, affine, attacked, augment, train_network

TINY = TrainSettings(
    width=0.125, epochs=1, batch_size=20, attack=AttackSettings(train_steps=1, eval_steps=1, eval_images=10)
)


def test_fashion5_has_the_papers_counts_and_no_training_image_in_validation():
    data = fashion5()
    assert (len(data.train), len(data.val), len(data.classes), data.size) == (4710, 1934, 5, (32, 32))
    assert data.train.labels.bincount().tolist() == [942] * 5
    assert sorted(data.val.labels.bincount().tolist()) == [386, 387, 387, 387, 387]
    seen = {image.numpy().tobytes() for image in data.train.images}
    assert sum(image.numpy().tobytes() in seen for image in data.val.images) == 0


def test_the_fingerprint_sees_every_pixel_and_label():
    data = planted(n_train=6, n_val=6)
    images = data.val.images.clone()
    images[-1, 0, -1, -1] += 1e-3
    labels = data.val.labels.roll(1)
    others = [
        Data("x", data.classes, data.train, Images(images, data.val.labels)),
        Data("x", data.classes, data.train, Images(data.val.images, labels)),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 3


@pytest.mark.parametrize(("images", "labels", "message"), [
    (torch.full((4, 1, 2, 2), 2.0), torch.tensor([0, 1, 0, 1]), "in \\[0, 1\\]"),
    (torch.full((4, 1, 2, 2), float("nan")), torch.tensor([0, 1, 0, 1]), "finite"),
    (torch.zeros(4, 1, 2, 2), torch.tensor([0, 0, 0, 0]), "none of b"),
    (torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 1]), "labels must lie"),
])
def test_bad_data_is_refused(images, labels, message):
    good = Images(torch.zeros(2, 1, 2, 2), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=message): Data("x", ("a", "b"), good, Images(images, labels))


@given(st.floats(-170, 170), st.floats(0.55, 1.45), st.integers(-8, 8), st.integers(-8, 8))
@settings(max_examples=25)
def test_affine_is_torchvisions(angle, scale, down, right):
    "A position on the border of two pixels may round to either; all but a few of 400 pixels agree."
    picture = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    ours = affine(picture, torch.tensor([angle]), torch.tensor([scale]), torch.tensor([[float(down), float(right)]]))
    oracle = transforms.affine(picture, -angle, [right, down], scale, [0.0, 0.0])
    if angle % 90 > 1e-3 and 20 * (scale % 0.5) > 1e-3: assert (ours == oracle).float().mean() >= 0.95


@pytest.mark.parametrize("regime", REGIMES)
def test_augmentation_draws_for_each_image_and_stays_in_range(regime):
    x = fashion5(50, 10).train.images[40:41].expand(16, -1, -1, -1)
    torch.manual_seed(0)
    drawn = augment(x, regime)
    assert drawn.shape == x.shape and drawn.min() >= 0 and drawn.max() <= 1
    different = len({image.numpy().tobytes() for image in drawn})
    # two close scales may pick the same pixels
    assert different == 1 if regime in ("natural", "adversarial") else different > 8


def test_translations_reach_as_far_as_the_paper_says():
    x = torch.zeros(400, 1, 21, 21); x[:, 0, 10, 10] = 1
    torch.manual_seed(0)
    places = augment(x, "translation")[:, 0].nonzero()
    assert len(places) == 400 and places[:, 1:].min() == 2 and places[:, 1:].max() == 18  # 10 ± round(0.4 · 21)


def test_rotations_go_both_ways_as_in_the_authors_code_and_the_departure_from_the_paper_is_named(monkeypatch):
    drawn = []
    monkeypatch.setattr("fourier_mask.train.affine", lambda x, angle_deg, scale, shift: drawn.append(angle_deg) or x)
    torch.manual_seed(0)
    augment(torch.zeros(2000, 1, 2, 2), "rotation")
    angle_deg, = drawn
    assert -180 <= angle_deg.min() < -175 and 175 < angle_deg.max() <= 180  # outermost of 2,000 even draws from ±180
    assert abs((angle_deg < 0).float().mean().item() - 0.5) < 0.06  # five standard errors of a fair coin
    assert "Deviation: ±180°" in augment.__doc__ and "[0, π]" in augment.__doc__


@given(st.floats(0, 64), st.integers(1, 3), st.sampled_from(["vgg11", "resnet18"]))
@settings(max_examples=6)
def test_attacks_stay_within_epsilon_and_range(eps_255, steps, architecture):
    data = fashion5(10, 10)
    torch.manual_seed(0)
    model = Normalized(ARCHITECTURES[architecture](5, width=0.125, size=data.size), data.mean, data.std)
    x = attacked(model, data.val.images, data.val.labels, AttackSettings(eps_255=eps_255, alpha_255=eps_255 / 4), steps)
    assert (x - data.val.images).abs().max() <= eps_255 / 255 + 1e-6  # rounding of float32 near 1
    assert x.min() >= 0 and x.max() <= 1 and model.training


@pytest.mark.parametrize("regime", REGIMES)
def test_training_is_repeatable_and_leaves_random_numbers_alone(regime):
    data, state = fashion5(40, 10), torch.get_rng_state()
    (first, record), (again, record_again) = (train_network(data, regime, TINY, progress=False) for _ in range(2))
    assert record == record_again and torch.equal(torch.get_rng_state(), state) and not first.training
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


def test_the_kept_weights_are_those_of_the_lowest_loss():
    _, record = train_network(
        fashion5(100, 20), "natural", TrainSettings(width=0.125, epochs=5, batch_size=20, max_lr=0.03), progress=False
    )
    losses = [epoch["val_ce"] for epoch in record["history"]]
    assert record["best_epoch"] == 1 + int(np.argmin(losses)) and record["val_ce"] == min(losses)


def test_checkpoints_of_another_network_or_cut_short_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(ARCHITECTURES["vgg11"](5, width=0.125, size=(32, 32)), path)
    with pytest.raises(ValueError, match="another network"):
        load_checkpoint(ARCHITECTURES["vgg11"](5, width=0.25, size=(32, 32)), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_checkpoint(ARCHITECTURES["vgg11"](5, width=0.125, size=(32, 32)), path)


@pytest.mark.parametrize("given", [dict(mean=[], std=1), dict(mean=0, std=[]), dict(mean=math.nan, std=1)])
def test_a_centring_of_no_numbers_is_refused(given):
    with pytest.raises(ValueError, match="(mean|std) must be finite numbers"): Normalized(torch.nn.Identity(), **given)
