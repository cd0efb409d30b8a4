"Measures of likeness against plain loops and sets, chance against simulation, the table of agreement."
import math

import numpy as np
import pytest
import torch

from fourier_mask.spectrum import radial_energy, symmetrize
from fourier_mask.stability import (
    BETWEEN,
    agreement,
    agreement_table,
    chance_overlap,
    energy_bands,
    energy_distance,
    mask_correlation,
    orbits,
    support_overlap,
    support_share,
    top_overlap,
)

SIZES = [(5, 4), (4, 6), (3, 7), (1, 6), (6, 1), (1, 1)]


def random_mask(size, seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return symmetrize(torch.rand(channels, *size, generator=generator, dtype=torch.float64)).float()


def orbits_by_hand(size):
    "The set of orbits, each a frozenset of places, found by the definition."
    h, w = size
    return sorted({frozenset({(v, u), (-v % h, -u % w)}) for v in range(h) for u in range(w)}, key=sorted)


@pytest.mark.parametrize("size", SIZES)
def test_each_orbit_is_taken_once(size):
    taken = [tuple(place) for place in orbits(size).nonzero().tolist()]
    assert sorted(sorted(orbit)[0] for orbit in orbits_by_hand(size)) == sorted(taken)


@pytest.mark.parametrize("size", SIZES[:5])
def test_correlation_is_numpys_over_the_orbits(size):
    a, b = random_mask(size, 1, 2), random_mask(size, 2, 2)
    rows = [[[plane[min(orbit)].item() for orbit in orbits_by_hand(size)] for plane in mask] for mask in (a, b)]
    expected = np.mean([np.corrcoef(mine, theirs)[0, 1] for mine, theirs in zip(*rows, strict=True)])
    assert abs(mask_correlation(a, b) - expected) < 1e-12  # sums of doubles in another order


def test_correlation_does_not_see_scale_or_shift_and_has_no_value_for_a_constant():
    a, b = random_mask((6, 6), 1), random_mask((6, 6), 2)
    assert abs(mask_correlation(a, b) - mask_correlation(b, 0.25 + 0.5 * a)) < 1e-6  # 0.25 + a/2 is rounded to float32
    assert math.isnan(mask_correlation(a, torch.full_like(a, 0.3)))
    assert math.isnan(mask_correlation(torch.cat([a, 0 * a]), torch.cat([b, b])))  # one constant channel


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threshold", [0.05, 0.5])
def test_overlap_is_that_of_sets(size, threshold):
    a, b = random_mask(size, 3), random_mask(size, 4)
    every = orbits_by_hand(size)
    mine, theirs = ({orbit for orbit in every if mask[0][min(orbit)] > threshold} for mask in (a, b))
    value = support_overlap(a, b, threshold)
    if mine | theirs:
        assert value == len(mine & theirs) / len(mine | theirs)
    else:
        assert math.isnan(value)
    assert support_share(a, threshold) == len(mine) / len(every)


@pytest.mark.parametrize(("p", "q"), [(0.05, 0.05), (0.4, 0.4), (0.2, 0.7), (0.9, 0.6), (1.0, 0.3)])
def test_chance_is_the_mean_overlap_of_random_supports(p, q):
    """Supports of exactly these sizes on 2,000 orbits, drawn by numpy.

    The mean of a ratio is not the ratio of means, but nears it with the number of orbits."""
    n, rng, values = 2000, np.random.default_rng(0), []
    for _ in range(300):
        mine, theirs = (set(rng.choice(n, round(share * n), replace=False).tolist()) for share in (p, q))
        values.append(len(mine & theirs) / len(mine | theirs))
    tolerance = 4 * np.std(values) / math.sqrt(300) + 1e-4  # four standard errors, and the order of 1/n
    assert abs(np.mean(values) - chance_overlap(p, q)) < tolerance
    assert chance_overlap(p, p) == pytest.approx(p / (2 - p), rel=1e-12)
    assert chance_overlap(p, q) == chance_overlap(q, p)


@pytest.mark.parametrize("share", [0.1, 0.35, 1.0])
def test_top_overlap_is_that_of_sets_where_nothing_ties(share):
    size = (7, 6)
    a, b = random_mask(size, 5), random_mask(size, 6)
    every = orbits_by_hand(size)
    k = max(round(share * len(every)), 1)

    def largest(mask):
        return set(sorted(every, key=lambda orbit: -mask[0][min(orbit)])[:k])

    mine, theirs = largest(a), largest(b)
    assert top_overlap(a, b, share) == pytest.approx(len(mine & theirs) / len(mine | theirs), rel=1e-12)


def test_ties_count_as_chance():
    "A constant mask overlaps with any other as a random support of its size would; zeros gain nothing."
    a, n = random_mask((8, 8), 7), int(orbits((8, 8)).sum())
    for k in (1, 5, n):
        assert top_overlap(a, torch.ones_like(a), k / n) == pytest.approx(k / n / (2 - k / n), rel=1e-12)
    single, other = torch.zeros(2, 1, 8, 8)
    single[0, 0, 0], other[0, 4, 4] = 1, 1
    # each one's only orbit is another, and only the four drawn from zeros can meet
    assert top_overlap(single, other, 5 / n) < 5 / n / (2 - 5 / n)
    assert top_overlap(single, single, 1 / n) == 1


def test_energy_bands_hold_every_repetition():
    masks = torch.stack([random_mask((9, 8), seed) for seed in range(4)])
    table = energy_bands(masks, 6)
    radial = table[table.direction == "radial"]
    curves = radial_energy(masks.mean(1), 6).double().numpy()
    np.testing.assert_allclose(radial.energy, curves.mean(0), rtol=1e-12)
    deviation = curves.std(0, ddof=1)
    np.testing.assert_allclose(radial["std"], deviation, rtol=1e-9, atol=1e-12)  # differences of nearly equal doubles
    assert (radial.low.to_numpy() == curves.min(0)).all() and (radial.high.to_numpy() == curves.max(0)).all()
    assert (table.groupby("direction").energy.count() == 6).all()
    distance = energy_distance(masks[0], masks[1], 6)["radial"]
    assert distance == pytest.approx(np.abs(curves[0] - curves[1]).max(), rel=1e-5)  # float32 against double


def random_masks(*seeds):
    return torch.stack([random_mask((6, 6), seed) for seed in seeds])


def test_the_table_compares_every_pair_once_and_controls_within_a_kind():
    groups = {
        "natural": {"mask seeds": random_masks(0, 1, 2), "network seeds": random_masks(3, 4)},
        "scale": {"mask seeds": random_masks(5, 6)},
    }
    table = agreement_table(groups, 0.2, 4).set_index(["regime", "kind"])
    assert list(table.pairs.to_dict().items()) == [
        (("natural", "mask seeds"), 3),
        (("natural", "network seeds"), 1),
        (("scale", "mask seeds"), 1),
        ((BETWEEN, "mask seeds"), 6),
    ]
    pairs = [agreement(*random_masks(i, j), 0.2, 4) for i, j in ((0, 1), (0, 2), (1, 2))]
    row = table.loc[("natural", "mask seeds")]
    for name in ("correlation", "overlap", "chance", "top_overlap"):
        assert row[name] == pytest.approx(np.mean([pair[name] for pair in pairs]), rel=1e-12)
    assert row.radial == max(pair["radial"] for pair in pairs)


def test_curves_between_regimes_are_those_of_the_two_most_alike():
    "Of three regimes with two masks each, by a loop over pairs of regimes."
    seeds = {"a": (0, 1), "b": (2, 3), "c": (4, 5)}
    groups = {name: {"mask seeds": random_masks(*of_regime)} for name, of_regime in seeds.items()}
    between = agreement_table(groups, n=4).set_index("regime").loc[BETWEEN]
    for direction in ("radial", "angular"):
        means = []
        for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
            distances = [energy_distance(x, y, 4)[direction]
                         for x in groups[one]["mask seeds"] for y in groups[other]["mask seeds"]]
            means.append(np.mean(distances))
        assert between[direction] == pytest.approx(min(means), rel=1e-12)
    assert between.pairs == 12


def test_a_pair_without_a_correlation_shows():
    groups = {"one": {"mask seeds": torch.stack([random_mask((6, 6), 0), torch.ones(1, 6, 6)])}}
    assert math.isnan(agreement_table(groups, n=4)["correlation"][0])


@pytest.mark.parametrize(("call", "message"), [
    (lambda a: mask_correlation(a, a[..., :4]), "same shape"),
    (lambda a: support_overlap(a, a * math.nan), "must be finite"),
    (lambda a: chance_overlap(1.2, 0.1), "share_a must lie in 0 … 1"),
    (lambda a: chance_overlap(0.1, math.nan), "share_b must lie in 0 … 1"),
    (lambda a: top_overlap(a, a, 0.0), "share must lie above 0"),
    (lambda a: agreement_table({"one": {"mask seeds": a[None]}}), "at least two masks"),
    (lambda a: agreement_table({}), "at least two masks"),
])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message): call(random_mask((6, 6)))
