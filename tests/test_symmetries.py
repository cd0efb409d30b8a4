"Averages over rotations and scales: the formula, the experiment, and masks in polar coordinates."
import math

import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.testing import assert_close

from fourier_mask.spectrum import angle, radius, symmetrize
from fourier_mask.symmetries import (
    angular_spectrum,
    anisotropy,
    circles,
    log_radial_spectrum,
    measured_damping,
    plot_mask_symmetries,
    plot_symmetry_losses,
    polar_samples,
    rotation_damping,
    scale_damping,
    shuffled_rings,
    symmetry_losses,
)
from fourier_mask.translations import dirichlet_damping, translation_losses


@pytest.mark.parametrize(("group", "size"), [("rotation", (3, 30)), ("rotation", (1, 17)), ("scale", (24, 5)),
                                             ("scale", (15, 1))])
@pytest.mark.parametrize("reach", [0, 3, 7])
def test_the_experiment_is_damped_as_on_a_circle(group, size, reach):
    plain, averaged = symmetry_losses(size, group, reach, points=5, seed=reach)
    n = max(size)
    k = torch.arange(n // 2 + 1, dtype=torch.float64)
    assert plain.shape == averaged.shape == (n,)
    assert_close(measured_damping(plain, averaged), dirichlet_damping(k, n, reach), rtol=0, atol=1e-9)
    window = torch.stack([plain.roll(s) for s in range(-reach, reach + 1)]).mean(0)  # a box, along the group
    assert_close(averaged, window)


@pytest.mark.parametrize(("n", "reach", "seed"), [(128, 8, 0), (31, 4, 2)])
def test_one_radius_is_the_experiment_on_translations(n, reach, seed):
    for ours, theirs in zip(symmetry_losses((1, n), reach=reach, seed=seed), translation_losses(n, reach, seed=seed),
                            strict=True):
        assert_close(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("group", "size"), [("rotation", (4, 21)), ("scale", (21, 4))])
def test_the_whole_group_leaves_the_mean(group, size):
    plain, averaged = symmetry_losses(size, group, 10)
    assert_close(averaged, plain.mean().expand(21))
    assert measured_damping(plain, averaged)[1:].abs().max() < 1e-9


def test_what_holds_nothing_has_no_damping():
    constant = torch.ones(8)
    damping = measured_damping(constant, constant)
    assert damping[0] == 1 and damping[1:].isnan().all()


@pytest.mark.parametrize("reach_deg", [0.0, 15.0, 90.0, 180.0])
def test_rotations_are_averages_of_waves(reach_deg):
    m = torch.arange(7, dtype=torch.float64)
    alpha = math.radians(reach_deg)
    points = (torch.arange(4000, dtype=torch.float64) + 0.5) / 2000 - 1
    waves = torch.cos(m[:, None] * alpha * points).mean(1)
    assert_close(rotation_damping(m, reach_deg), waves, rtol=0, atol=1e-5)  # of an average over 4,000


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.5), (0.9, 1.1), (1.0, 4.0)])
def test_scales_are_averages_of_waves(low, high):
    f = torch.tensor([0.0, 0.3, 1.0, 2.7], dtype=torch.float64)
    even = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    draws = {"factor": torch.log2(low + even * (high - low)), "log": math.log2(low) + even * math.log2(high / low)}
    for drawn, octaves in draws.items():
        waves = torch.exp(-2j * math.pi * f[:, None] * octaves).mean(1).abs()
        found = scale_damping(f, low, high, drawn)
        assert_close(found, waves, rtol=0, atol=1e-6)
        assert found[0] == 1 and found.dtype == f.dtype
    narrow = scale_damping(f, 1 - 1e-4, 1 + 1e-4), scale_damping(f, 1 - 1e-4, 1 + 1e-4, "log")
    assert_close(*narrow, rtol=0, atol=1e-6)  # a short interval is even in both


@pytest.mark.parametrize("size", [(16, 16), (15, 20), (9, 8)])
@pytest.mark.parametrize("lead", [(), (2, 3)])
def test_polar_samples_are_scipys(size, lead):
    "Bilinear on a plane that is closed at its edges: `grid-wrap` of scipy."
    planes = torch.rand(*lead, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    radii, turns = circles(size, min(size) // 2, 12)
    read = polar_samples(planes, radii, turns)
    assert read.shape == (*lead, len(radii), 12) and read.dtype == torch.float64
    row = -radii[:, None] * torch.sin(turns) * size[0]
    column = radii[:, None] * torch.cos(turns) * size[1]
    for ours, plane in zip(read.reshape(-1, *read.shape[-2:]), planes.reshape(-1, *size), strict=True):
        theirs = map_coordinates(plane.numpy(), [row.numpy(), column.numpy()], order=1, mode="grid-wrap")
        assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [(12, 12), (13, 18)])
def test_entries_on_the_axes_are_read_as_they_are(size):
    "And counter-clockwise with v up, as sectors are counted."
    plane = torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turns = torch.tensor([0.0, 0.5, 1.0, 1.5]) * math.pi
    read = polar_samples(plane, torch.tensor([0.0, 2 / size[1]]), turns)
    assert (read[0] - plane[0, 0]).abs().max() < 1e-6
    assert abs(read[1, 0] - plane[0, 2]) < 1e-6 and abs(read[1, 2] - plane[0, -2]) < 1e-6
    inward = polar_samples(angle(size), torch.tensor([3 / min(size)]), torch.tensor([0.3, 1.2, 2.0, 4.0, 5.9]))
    assert_close(inward[0].float(), torch.tensor([0.3, 1.2, 2.0, 4.0, 5.9]), rtol=0, atol=0.15)  # between entries


@pytest.mark.parametrize("size", [(32, 32), (33, 40)])
@pytest.mark.parametrize("m", [0, 2, 4])
def test_orders_of_planted_masks(size, m):
    r, phi = radius(size), angle(size)
    mask = torch.exp(-((r / 0.3) ** 2)) * (1 + torch.cos(m * (phi - 0.3))) / 2
    spectrum = angular_spectrum(mask, 6, 48)
    assert spectrum.shape == (6, 25)
    ring = torch.exp(-((circles(size, 6, 48)[0] / 0.3) ** 2))
    wanted = torch.zeros(6, 25, dtype=torch.float64)
    wanted[:, 0] = ring * (1 if m == 0 else 0.5)
    if m: wanted[:, m] = ring / 4
    assert_close(spectrum[1:], wanted[1:], rtol=0, atol=0.02)  # interpolation
    share = anisotropy(mask, 6, 48)
    assert abs(share - (1 / 3 if m else 0)) < 0.06  # the innermost rings
    stacked = torch.stack([mask, mask, 2 * mask])[:, None]
    assert_close(angular_spectrum(stacked, 6, 48)[2, 0], 2 * spectrum)
    assert_close(anisotropy(stacked, 6, 48), share.expand(3, 1))
    assert_close(anisotropy(mask, 6, 48, range(1, 25)), share)  # all orders but 0
    parts = [anisotropy(mask, 6, 48, [m]) for m in range(25)]
    assert_close(torch.stack(parts).sum(0), torch.ones_like(share))


@pytest.mark.parametrize("size", [(8, 8), (9, 6), (7, 11)])
def test_shuffles_keep_rings_and_pairs_and_lose_directions(size):
    mask = symmetrize(torch.rand(size, generator=torch.Generator().manual_seed(2)))
    shuffled = shuffled_rings(mask, 50, seed=1)
    assert shuffled.shape == (50, *size) and torch.equal(shuffled, shuffled_rings(mask, 50, seed=1))
    v, u = (torch.arange(side) for side in size)
    assert torch.equal(shuffled, shuffled[:, -v % size[0]][:, :, -u % size[1]])
    ring = (radius(size) * min(size)).round()
    for number in ring.unique():
        held = shuffled[:, ring == number].sort(1).values
        assert torch.equal(held, mask[ring == number].sort().values.expand(50, -1))
    assert torch.equal(shuffled[:, 0, 0], mask[0, 0].expand(50))
    assert (shuffled != mask).flatten(1).any(1).all()  # some two pairs have changed places


@pytest.mark.parametrize("size", [(10, 10), (11, 14)])
def test_masks_of_real_images_have_no_odd_orders(size):
    mask = symmetrize(torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    spectrum = angular_spectrum(mask, 4, 32)
    assert spectrum[:, 1::2].abs().max() < 1e-9 and spectrum[:, 2::2].max() > 1e-3
    power = polar_samples(mask, *circles(size, 4, 32)).square().mean(-1)  # Parseval
    assert_close(spectrum[:, 0].square() + 2 * spectrum[:, 1:-1].square().sum(1) + spectrum[:, -1].square(), power)


@pytest.mark.parametrize("size", [(64, 64), (64, 80)])
def test_log_radial_waves_are_found_and_damped_as_predicted(size):
    def ripple(factor=1.0):
        return 0.5 + 0.3 * torch.cos(2 * math.pi * torch.log2(radius(size).clamp(min=1e-3) * factor))

    f, waves = log_radial_spectrum(ripple())
    at = int(waves.argmax())
    assert f[at] == 1 and f[0] == 1 / 5 and 0.18 < waves[at] < 0.31  # five octaves; low ones are interpolated
    averaged = torch.stack([ripple(s) for s in torch.linspace(0.5, 1.5, 101).tolist()]).mean(0)
    ratio = log_radial_spectrum(averaged)[1][at] / waves[at]
    assert abs(ratio - scale_damping(torch.ones(1))[0]) < 0.02
    both = log_radial_spectrum(torch.stack([ripple(), averaged])[:, None])[1]
    assert both.shape == (2, 1, len(f))
    assert_close(both[0, 0], waves)
    assert log_radial_spectrum(torch.ones(size))[1].abs().max() < 1e-6


def test_a_seed_gives_the_same_and_nothing_global_is_drawn():
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first, again, other = (symmetry_losses((2, 9), reach=2, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_pictures():
    losses = {"rotation": (symmetry_losses((2, 12), reach=2), 2), "scale": (symmetry_losses((12, 2), "scale", 2), 2)}
    assert len(plot_symmetry_losses(losses).axes) == 4
    masks = torch.rand(3, 20, 18, generator=torch.Generator().manual_seed(0))
    figure = plot_mask_symmetries({"a_$": masks[0], "colour": masks, "empty": 0 * masks[0]}, rings=4)
    assert len(figure.axes) == 2
    figure.savefig("/dev/null", format="png")


ONES = torch.ones(8, 8)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: symmetry_losses(group="shear"), "group must be one of rotation, scale; got 'shear'"),
    (lambda: symmetry_losses((4, 16), reach=8), "reach must be .* at most 7; got 8"),
    (lambda: symmetry_losses((4,)), "size must be"),
    (lambda: symmetry_losses(points=0), "points must be"),
    (lambda: symmetry_losses(seed=-1), "seed must be"),
    (lambda: measured_damping(torch.ones(4), torch.ones(5)), "plain and averaged must be as long"),
    (lambda: measured_damping(torch.ones(4) * torch.nan, torch.ones(4)), "plain must be finite"),
    (lambda: rotation_damping(torch.ones(1), 181), "reach_deg must lie in 0 … 180"),
    (lambda: scale_damping(torch.ones(1), 1.5, 0.5), "low and high must be factors"),
    (lambda: scale_damping(torch.ones(1), drawn="even"), "drawn must be factor or log"),
    (lambda: scale_damping(1.0), "frequency must be a tensor"),
    (lambda: angular_spectrum(ONES, 5), "rings must be .* at most 4; got 5"),
    (lambda: angular_spectrum(ONES, 4, 3), "angles must be .* at least 4; got 3"),
    (lambda: angular_spectrum(ONES[0]), "mask must have the axes"),
    (lambda: anisotropy(ONES * torch.nan), "mask must be finite"),
    (lambda: anisotropy(ONES, 4, orders=[40]), "orders must be a whole number of cycles, at least 0 and at most 32"),
    (lambda: shuffled_rings(ONES[None]), r"mask must have the axes \(h, w\)"),
    (lambda: shuffled_rings(ONES, 0), "n must be a whole number of shuffles"),
    (lambda: log_radial_spectrum(torch.ones(7, 9)), "mask must have 8 entries"),
    (lambda: polar_samples(ONES, torch.ones(2, 2), torch.ones(2)), "radii_cyc must have the axes"),
    (lambda: plot_mask_symmetries({}), "masks must be a dictionary"),
    (lambda: plot_symmetry_losses({}), "losses must be a dictionary"),
])
def test_bad_input_is_refused(call, message, annotations_off):
    with pytest.raises((TypeError, ValueError), match=message): call()
