"Pass filters: masks against plain loops, what reaches the network against numpy, curves of planted networks."
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from small import in_unit, small_images, small_network
from torch import nn
from torch.testing import assert_close

from fourier_mask import pass_filters
from fourier_mask.accuracy import paired_difference, share_interval
from fourier_mask.models import Normalized
from fourier_mask.pass_filters import (
    CUTS_CYC,
    KINDS,
    blurred_accuracy,
    diamond_radius,
    equal_share_rings,
    hybrid_curve,
    partners,
    pass_curves,
    pass_mask,
    plot_over_cuts,
    plot_ring_removal,
    reversal_cyc,
    ring_removal,
    through_masks,
    with_intervals,
)
from fourier_mask.spectrum import mirror

SIZES = [(5, 4), (4, 6), (3, 7), (1, 6), (6, 1), (1, 1)]
ROUND = dict(rtol=0, atol=2e-6)  # float32 transforms of a few dozen numbers in [0, 1]


def some_images(size=(6, 5), n=7, channels=1, seed=0, dtype=torch.float32):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Recorder(nn.Module):
    "Keeps what it is asked, and answers with two logits, of which the second is the larger for bright images."

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x):
        self.asked.append(x.detach().clone())
        mean = x.mean((1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], 1)


class Reads(nn.Module):
    "The sign of one wave along an axis: 0 for minus, 1 for plus, 2 where there is none."

    def __init__(self, size, k, axis):
        super().__init__()
        self.register_buffer("plane", planted(size, k, axis))

    def forward(self, x):
        found = (x * self.plane).mean((1, 2, 3))
        return torch.stack([-found, found, torch.full_like(found, 0.005)], 1)


def planted(size, k, axis):
    "A cosine of k cycles along an axis."
    line = torch.cos(2 * torch.pi * k * torch.arange(size[axis]) / size[axis])
    return line[:, None].expand(size) if axis == 0 else line[None].expand(size)


def signed(size, k, axis, channels=1, n=12):
    "Images with a wave of either sign in some noise, and their classes."
    labels = torch.arange(n) % 2
    noise = 0.02 * some_images(size, n, channels, seed=3)
    return 0.45 + 0.1 * (2 * labels - 1)[:, None, None, None] * planted(size, k, axis) + noise, labels


# masks

@pytest.mark.parametrize("size", [*SIZES, (28, 28)])
@pytest.mark.parametrize("cut", [0, 0.1, 0.25, 3 / 28, 0.5, 0.7, 1])
def test_a_low_and_a_high_pass_are_hard_and_symmetric_and_make_up_the_plane(size, cut):
    low, high = (pass_mask(size, cut, kind) for kind in KINDS)
    assert low.shape == size and set(low.unique().tolist()) <= {0, 1} and torch.equal(low + high, torch.ones(size))
    assert torch.equal(low, mirror(low)) and torch.equal(high, mirror(high))
    for v in range(size[0]):
        for u in range(size[1]):
            down, right = (min(at, n - at) / n for at, n in zip((v, u), size, strict=True))
            assert low[v, u] == (math.hypot(down, right) < cut - 1e-9)  # a frequency at the cut does not pass


@pytest.mark.parametrize("r", range(4, 29, 4))
def test_it_is_wangs_mask_on_the_pixels_of_cifar(r):
    wangs = [[float(math.hypot(i - 16, j - 16) < r) for j in range(32)] for i in range(32)]
    assert torch.equal(torch.fft.fftshift(pass_mask((32, 32), r / 32)), torch.tensor(wangs))
    assert r / 32 in CUTS_CYC


# the loop

@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hybrid", [False, True])
def test_what_reaches_the_network_is_numpys_real_part_not_clipped(size, channels, dtype, hybrid):
    "For any real masks, also those that are not symmetric."
    x, rest = (some_images(size, 5, channels, seed, dtype) for seed in (1, 2))
    masks = 2 * torch.rand(3, *size, generator=torch.Generator().manual_seed(4)) - 0.5
    recorder = Recorder()
    with through_masks(recorder, x, batch_size=2) as network:
        recorder.asked.clear()
        said = network.says(masks, rest=rest if hybrid else None)
    seen = [torch.stack(recorder.asked[begin: begin + 3]) for begin in (0, 3, 6)]  # 2, 2 and 1 images, 3 masks each
    spectra = [np.fft.fft2(each.double().numpy()) for each in (x, rest)]
    m = masks.double().numpy()[:, None, None]
    expected = np.fft.ifft2(m * spectra[0][None] + (1 - m) * spectra[1][None] * hybrid).real
    assert_close(torch.cat(seen, 1).double(), torch.from_numpy(expected), **ROUND)
    assert said.shape == (3, 5) and torch.equal(said, (torch.from_numpy(expected).mean((2, 3, 4)) > 0.5).long())


@pytest.mark.parametrize("size", SIZES)
def test_masks_of_ones_change_nothing_and_batches_neither(size):
    x, y = signed((*size,), 0, 0, channels=3)
    model, tables = Reads(size, 0, 0), []
    with through_masks(model, x, y) as network:
        assert torch.equal(network.says(torch.ones(2, *size)), network.clean.expand(2, -1))
    for batch_size in (1, 5, 64): tables.append(pass_curves(model, x, y, batch_size=batch_size))
    for table in tables[1:]: pd.testing.assert_frame_equal(table, tables[0])


@pytest.mark.parametrize(("channels", "mean", "std"), [(1, 0.4, 0.2), (3, [0.2, 0.4, 0.6], [0.1, 0.2, 0.3])])
def test_centred_is_a_mask_behind_the_centring(channels, mean, std):
    recorder, x = Recorder(), some_images((5, 6), 4, channels)
    model = Normalized(recorder, mean, std)
    pass_curves(model, x, cuts_cyc=[0.3], where="centred")
    low, high = recorder.asked[-2:]
    for kind, seen in zip(KINDS, (low, high), strict=True):
        behind = np.fft.ifft2(pass_mask((5, 6), 0.3, kind).numpy() * np.fft.fft2(model.center(x).double().numpy())).real
        assert_close(seen.double(), torch.from_numpy(behind), rtol=0, atol=2e-5)  # over a deviation of 0.1
    assert_close(high.mean((2, 3)), torch.zeros(4, channels), rtol=0, atol=2e-5)


# curves

@pytest.mark.parametrize(("size", "k", "axis"), [((9, 16), 3, 1), ((10, 7), 4, 0), ((8, 8), 4, 1), ((12, 5), 1, 0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_planted_wave_passes_low_exactly_above_its_frequency(size, k, axis, channels):
    x, y = signed(size, k, axis, channels)
    at = k / size[axis]
    table = pass_curves(Reads(size, k, axis), x, y, [at / 2, at, at + 1e-3, 0.8])
    assert table.low_pass_pct.tolist() == [0, 0, 100, 100] == table.only_low_pass_pct.tolist()
    assert table.high_pass_pct.tolist() == [100, 100, 0, 0] == table.only_high_pass_pct.tolist()
    assert (table.clean_pct == 100).all() and (table.n == 12).all()
    wrong = pass_curves(Reads(size, k, axis), x, 1 - y, [at / 2, 0.8])
    assert (wrong.filter(like="_pct") == 0).all(axis=None)


def test_shares_are_counted_against_labels_or_the_networks_own_answers():
    x = in_unit(small_images()[0])
    model, y = Normalized(small_network(), 0.5, 0.25).double(), small_images()[1]
    mine, given = pass_curves(model, x, cuts_cyc=[0.2, 0.8]), pass_curves(model, x, y, [0.2, 0.8])
    said = model(x).argmax(1)
    assert (mine.clean_pct == 100).all() and mine.low_pass_pct[1] == 100
    assert_close(given.clean_pct[0], 100 * (said == y).double().mean().item())
    assert given.low_pass_pct[1] == given.clean_pct[1]  # everything passes
    low = np.fft.ifft2(pass_mask((6, 5), 0.2).numpy() * np.fft.fft2(x.numpy())).real
    high = x.numpy() - low
    low, high = (model(torch.from_numpy(each)).argmax(1) for each in (low, high))
    assert_close(mine.only_high_pass_pct[0], 100 * ((low != said) & (high == said)).double().mean().item())
    assert_close(given.only_low_pass_pct[0], 100 * ((low == y) & (high != y)).double().mean().item())


def test_intervals_are_wilsons_and_can_be_asked_for_again():
    table = pd.DataFrame(dict(cut_cyc=[0.1, 0.2], n=[7, 300], a_pct=[100 * 3 / 7, 0.0], b_pct=[100.0, 100 * 7 / 300]))
    got = with_intervals(table)
    for i, (k, n) in {("a", 0): (3, 7), ("a", 1): (0, 300), ("b", 0): (7, 7), ("b", 1): (7, 300)}.items():
        ends = [got[f"{i[0]}_{end}_pct"][i[1]] for end in ("low", "high")]
        assert ends == [100 * end for end in share_interval(k, n)]
    assert [*table] == ["cut_cyc", "n", "a_pct", "b_pct"]  # the caller's is not changed
    pd.testing.assert_frame_equal(with_intervals(got), got)


# rings

def pink(size, n=6, channels=1):
    "Images whose spectrum falls, as photographs' do."
    v, u = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), indexing="ij")
    noise = np.random.default_rng(0).standard_normal((n, channels, *size))
    x = np.fft.ifft2(np.fft.fft2(noise) / (np.hypot(v, u) + 0.05)).real
    return torch.from_numpy((x - x.min()) / (x.max() - x.min()))


@pytest.mark.parametrize("size", [(9, 8), (16, 16), (12, 7), (1, 16)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_rings_are_diamonds_of_equal_share(size, channels, n):
    x = pink(size, channels=channels)
    rings = equal_share_rings(x, n)
    assert rings[0, 0] == -1 and (rings == -1).sum() == 1 and torch.equal(rings, mirror(rings))
    radii = diamond_radius(size)
    order = radii.flatten().argsort()
    assert (rings.flatten()[order].diff() >= 0).all() and rings.max() == n - 1
    for radius in radii.unique(): assert len(rings[radii == radius].unique()) == 1
    amplitude = torch.fft.fft2(x).abs().mean((0, 1))
    amplitude[0, 0] = 0
    shells = torch.stack([amplitude[radii == radius].sum() for radius in radii.unique()]) / amplitude.sum()
    shares = torch.stack([amplitude[rings == i].sum() for i in range(n)]) / amplitude.sum()
    assert ((shares - 1 / n).abs() <= shells.max() + 1e-9).all()  # half a diamond at each of two boundaries
    assert torch.equal(equal_share_rings(0.5 * x + 0.3, n), rings)  # neither contrast nor brightness matters


def test_amplitude_and_not_power_is_shared():
    "Of amplitudes 3, 2, 2, 2 the middle of the second is at 4/9, of their powers at 11/21, in the next ring of two."
    x = 0.5 + 0.05 * sum(a * planted((1, 16), k, 1) for k, a in enumerate((3, 2, 2, 2), 1))[None, None]
    assert equal_share_rings(x, 2)[0, :9].tolist() == [-1, 0, 0, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("size", "k", "axis"), [((9, 16), 3, 1), ((10, 7), 4, 0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_only_the_ring_of_a_planted_wave_is_missed(size, k, axis, channels):
    x, y = signed(size, k, axis, channels)
    table = ring_removal(Reads(size, k, axis), x, y, 2)
    mine = equal_share_rings(x, 2)[(k, 0) if axis == 0 else (0, k)].item()
    lost = [100.0 if i == mine else 0.0 for i in range(2)]
    assert table.drop_points.tolist() == lost and table.without_pct.tolist() == [100 - each for each in lost]
    assert table.entries.sum() == math.prod(size) - 1 and math.isclose(table.amplitude.sum(), 1, rel_tol=1e-6)
    assert (table.to_cyc[0] < table.from_cyc[1]) and table.from_cyc[mine] <= k / size[axis] <= table.to_cyc[mine]
    assert set(with_intervals(table)) >= {"without_low_pct", "clean_high_pct"}


def test_zero_frequency_is_kept_and_drops_are_paired():
    recorder, x = Recorder(), pink((8, 8), 5).float()
    ring_removal(recorder, x, n=3)
    for seen in recorder.asked[-3:]: assert_close(seen.mean((1, 2, 3)), x.mean((1, 2, 3)), **ROUND)
    images = in_unit(small_images()[0])
    model, y = Normalized(small_network(), 0.5, 0.25).double(), small_images()[1]
    rings, table = equal_share_rings(images, 2), ring_removal(model, images, y, 2)
    clean = (model(images).argmax(1) == y).numpy()
    for i in range(2):
        left = np.fft.ifft2((rings != i).numpy() * np.fft.fft2(images.numpy())).real
        after = (model(torch.from_numpy(left)).argmax(1) == y).numpy()
        assert (-table.drop_points[i], table.drop_spread[i]) == pytest.approx(paired_difference(clean, after))


# hybrids

@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.integers(0, 2**63 - 1))
def test_partners_are_of_other_classes(classes, seed):
    labels = torch.tensor(classes)
    if len(set(classes)) == 1:
        with pytest.raises(ValueError, match="labels must name at least two classes"): partners(labels, seed)
        return
    assert (labels[partners(labels, seed)] != labels).all() and torch.equal(*(partners(labels, seed) for _ in "ab"))


def test_partners_are_drawn_from_all_alike():
    labels = torch.tensor([2, 0, 1, 0, 2])
    drawn = torch.stack([partners(labels, seed) for seed in range(3000)])
    for i, mine in enumerate(labels):
        others = (labels != mine).nonzero().flatten()
        counts = torch.bincount(drawn[:, i], minlength=5)[others] / 3000
        assert counts.sum() == 1 and (counts - 1 / len(others)).abs().max() < 0.05  # over five standard errors


@pytest.mark.parametrize(("size", "k", "axis", "channels"), [((9, 16), 3, 1, 1), ((10, 7), 4, 0, 3)])
def test_hybrids_follow_the_image_that_gives_the_wave(size, k, axis, channels):
    x, y = signed(size, k, axis, channels)
    at = k / size[axis]
    table = hybrid_curve(Reads(size, k, axis), x, y, [at - 0.1, at, at + 0.1])
    assert table.follow_low_pass_pct.tolist() == [0, 0, 100]
    assert table.follow_high_pass_pct.tolist() == [100, 100, 0]
    assert math.isclose(reversal_cyc(table), at + 0.05)
    pd.testing.assert_frame_equal(hybrid_curve(Reads(size, k, axis), x, "predicted", [at - 0.1, at, at + 0.1]), table)


def test_hybrids_are_repeated_by_their_seed_and_are_those_of_numpy():
    x = in_unit(small_images(40)[0])
    model, y, cuts = Normalized(small_network(), 0.5, 0.25).double(), small_images(40)[1], [0.1, 0.25, 0.4]
    table = hybrid_curve(model, x, y, cuts, seed=5)
    pd.testing.assert_frame_equal(hybrid_curve(model, x, y, cuts, seed=5, batch_size=3), table)
    assert not table.equals(hybrid_curve(model, x, y, cuts, seed=6))
    pair = partners(y, 5)
    for i, cut in enumerate(cuts):
        low = pass_mask((6, 5), cut).numpy()
        both = np.fft.ifft2(low * np.fft.fft2(x.numpy()) + (1 - low) * np.fft.fft2(x[pair].numpy())).real
        said = model(torch.from_numpy(both)).argmax(1)
        assert_close(table.follow_low_pass_pct[i], 100 * (said == y).double().mean().item())
        assert_close(table.follow_high_pass_pct[i], 100 * (said == y[pair]).double().mean().item())


@pytest.mark.parametrize(("low", "high", "at"), [
    ([0, 20, 80], [90, 50, 20], 0.2 + 0.2 * 30 / 90), ([0, 50, 80], [90, 50, 20], 0.2), ([0, 0, 50], [0, 50, 50], 0.4),
    ([0, 90, 0], [100, 10, 100], 0.1 + 0.1 * 100 / 180),
    ([0, 10, 20], [90, 50, 40], None), ([60, 70, 80], [20, 10, 0], None), ([0, 0, 0], [0, 0, 0], None),
])
def test_the_reversal_is_the_first_place_where_the_low_side_catches_up(low, high, at):
    table = pd.DataFrame(dict(cut_cyc=[0.1, 0.2, 0.4], follow_low_pass_pct=low, follow_high_pass_pct=high))
    got = reversal_cyc(table)
    assert math.isnan(got) if at is None else math.isclose(got, at)


# blur

def test_a_low_pass_undoes_an_attack_above_it():
    x, y = signed((9, 16), 3, 1, 3)
    model = Reads((9, 16), 3, 1)
    model.plane = model.plane + planted((9, 16), 6, 1)
    turned = x - 0.3 * (2 * y - 1)[:, None, None, None] * planted((9, 16), 6, 1)
    table = blurred_accuracy(model, x, y, turned, [0.1, 0.3, 0.5])
    assert table.blurred_pct.tolist() == [0, 100, 100] and table.blurred_attacked_pct.tolist() == [0, 100, 0]
    assert (table.attacked_pct == 0).all() and (table.clean_pct == 100).all()
    same = blurred_accuracy(model, x, y, x)
    assert same.blurred_pct.equals(same.blurred_attacked_pct.rename("blurred_pct"))


# what is common

DOORS = {
    "pass_curves": lambda model, x, y="predicted", **given: pass_curves(model, x, y, **given),
    "ring_removal": lambda model, x, y="predicted", **given: ring_removal(model, x, y, 2, **given),
    "hybrid_curve": lambda model, x, y="predicted", **given: hybrid_curve(model, x, y, **given),
    "blurred_accuracy": lambda model, x, y="predicted", **given: blurred_accuracy(model, x, y, 1 - x, **given),
}


@pytest.mark.parametrize("name", DOORS)
def test_nothing_else_is_touched(name):
    model = Normalized(small_network().train(), 0.5, 0.25).double()
    x, y = in_unit(small_images()[0]).requires_grad_(), small_images()[1]
    torch.manual_seed(3)
    random, values = torch.get_rng_state(), x.detach().clone()
    table = DOORS[name](model, x, y)
    assert all(module.training for module in model.modules()) and all(p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random) and torch.equal(x, values) and x.grad is None
    pd.testing.assert_frame_equal(DOORS[name](model, x, y), table)
    assert set(DOORS[name](model, values.half(), y.int(), precision="bf16")) == set(table)


@pytest.mark.parametrize("name", DOORS)
def test_functions_and_answers_that_are_picked_make_no_difference(name):
    x, y = in_unit(small_images()[0]), small_images()[1]
    model = small_network()
    inside = DOORS[name](lambda x: {"logits": model(x)}, x, y, output_fn=lambda out: out["logits"])
    pd.testing.assert_frame_equal(inside, DOORS[name](model, x, y))
    if name != "blurred_accuracy":  # attacked images are a tensor
        pd.testing.assert_frame_equal(DOORS[name](model, x.numpy(), y.numpy()), DOORS[name](model, x, y))


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize(("change", "said"), [
    ({"x": some_images() * 3 - 1}, "images must lie in"), ({"x": some_images() * math.nan}, "images must be finite"),
    ({"x": some_images()[0]}, "images must be"), ({"y": torch.arange(7)}, "labels must lie in 0 … 1"),
    ({"y": torch.full((7,), -1)}, "labels must lie"), ({"y": torch.zeros(3).long()}, "labels must be whole numbers"),
    ({"batch_size": 0}, "batch_size must"), ({"precision": "half"}, "precision must"),
    ({"cut": [1]}, "unexpected keyword argument 'cut'"),
    ({"model": lambda x: x.flatten(1).sum(1)}, "model must return logits"),
])
def test_errors_are_the_same_at_each_door(name, change, said, annotations_off):
    given = dict(model=Recorder(), x=some_images(), y=torch.arange(7) % 2) | change
    with pytest.raises((ValueError, TypeError), match=said): DOORS[name](given.pop("model"), **given)


WRONG_CUTS = [[], [0.2, 0.2], [0.3, 0.1], [-0.1, 0.2], [math.nan], [math.inf], 0.2, "0.2", None, [True]]


@pytest.mark.parametrize("cuts", WRONG_CUTS)
@pytest.mark.parametrize("name", ["pass_curves", "hybrid_curve", "blurred_accuracy"])
def test_cuts_that_do_not_grow_are_refused(name, cuts, annotations_off):
    with pytest.raises(ValueError, match="cuts_cyc must be radii"): DOORS[name](Recorder(), pink((6, 5)), cuts_cyc=cuts)


@pytest.mark.parametrize("kind", [tuple, np.array, torch.tensor, pd.Series, iter])
def test_cuts_are_taken_as_they_come(kind, annotations_off):
    assert pass_curves(Recorder(), pink((6, 5)), cuts_cyc=kind([0, 0.25])).cut_cyc.tolist() == [0, 0.25]


def test_what_one_function_refuses(annotations_off):
    x, y = some_images(), torch.arange(7) % 2
    for call, said in [
        (lambda: pass_mask((6, 5), -0.1), "cut_cyc must be a radius"), (lambda: pass_mask((6, 5), "a"), "cut_cyc must"),
        (lambda: pass_mask((6, 5), 0.1, "band"), "kind must be one of low, high"),
        (lambda: pass_mask(6, 0.1), "size must"),
        (lambda: pass_curves(Recorder(), x, where="centred"), "where must be 'pixels', or 'centred' for a Normalized"),
        (lambda: pass_curves(Normalized(Recorder(), 0, 1), x, where="middle"), "where must"),
        (lambda: ring_removal(Recorder(), x, n=0), "n must"), (lambda: equal_share_rings(x, 30), "n must leave"),
        (lambda: equal_share_rings(torch.full((2, 1, 4, 4), 0.5)), "images must have some contrast"),
        (lambda: hybrid_curve(Recorder(), x, torch.ones(7).long()), "labels must name at least two classes"),
        (lambda: hybrid_curve(Recorder(), x, y, seed=-1), "seed must"),
        (lambda: blurred_accuracy(Recorder(), x, y, x[:2]), "attacked must be of the images' shape"),
        (lambda: blurred_accuracy(Recorder(), x, y, x * math.nan), "attacked must be finite"),
        (lambda: blurred_accuracy(Recorder(), x, y, 4 * x - 2), "attacked must lie in"),
        (lambda: blurred_accuracy(Recorder(), x, y, None), "attacked must be a tensor"),
        (lambda: with_intervals(pd.DataFrame({"n": [3]})), "table must have shares"),
        (lambda: with_intervals(pd.DataFrame({"a_pct": [3]})), "table must have rows"),
    ]:
        with pytest.raises((ValueError, TypeError), match=said): call()


# pictures

@pytest.fixture(scope="module")
def tables():
    x, y = signed((9, 16), 3, 1)
    model = Reads((9, 16), 3, 1)
    return {"pass": pass_curves(model, x, y), "hybrid": hybrid_curve(model, x, y), "ring": ring_removal(model, x, y, 3),
            "blur": blurred_accuracy(model, x, y, 1 - x)}


@pytest.mark.parametrize(("kind", "panels", "lines"), [("pass", 2, 4), ("hybrid", 1, 6), ("blur", 1, 4)])
def test_tables_over_cuts_are_drawn_with_a_line_for_each_share(tables, kind, panels, lines):
    given = {"$a_b$": tables[kind], "other": with_intervals(tables[kind])}
    figure = plot_over_cuts(given)
    figure.canvas.draw()
    assert isinstance(figure, Figure) and len(figure.axes) == panels and figure.axes[0].get_xlabel().startswith("cut")
    for ax in figure.axes:
        assert len(ax.lines) == lines and len(ax.collections) == 2  # of hybrids two reversals; bands of one table
        assert ax.get_legend().get_texts()[0].get_text().startswith("$a_b$: ")
    curve = figure.axes[0].lines[0]
    column = {"pass": "low_pass_pct", "hybrid": "follow_low_pass_pct", "blur": "blurred_pct"}[kind]
    assert curve.get_ydata().tolist() == tables[kind][column].tolist()


def test_rings_are_drawn_with_their_edges(tables):
    figure = plot_ring_removal({"$a_b$": tables["ring"], "other": tables["ring"]})
    figure.canvas.draw()
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks[0] == f"{tables['ring'].from_cyc[0]:.2f}\n{tables['ring'].to_cyc[0]:.2f}" and len(ticks) == 3


def test_pictures_refuse_what_is_no_table_of_theirs(tables, annotations_off):
    for plot in (plot_over_cuts, plot_ring_removal):
        for wrong in ({}, None, tables["pass"], {"a": None}, {"a": pd.DataFrame()}):
            with pytest.raises((TypeError, ValueError), match="tables"): plot(wrong)
    with pytest.raises(ValueError, match="tables must be of one kind"):
        plot_over_cuts({"a": tables["pass"], "b": tables["hybrid"]})
    with pytest.raises(ValueError, match=r"tables\['a'\] must have rows, and the columns that ring_removal gives"):
        plot_ring_removal({"a": tables["pass"]})
    assert pass_filters.PANELS.keys() >= {"right", "whose class is said"}
