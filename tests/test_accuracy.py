"Accuracies: counts and intervals by hand, paired differences against a simulation, pairs of masks."
import math

import numpy as np
import pandas as pd
import pytest
import torch
from planes import orbit, wilson

from fourier_mask.accuracy import accuracy_row, mean_spread, paired_difference, share_table
from fourier_mask.band_energies import ENERGIES, band_table, isotropic, mask_summary
from fourier_mask.mask_pairs import centroid_shift, exceed_table


def test_shares_by_hand():
    table = share_table({"M(X)": np.array([True, True, False, True]), "X_A": torch.zeros(7, dtype=torch.bool)})
    assert table.index.tolist() == ["M(X)", "X_A"]
    assert table.columns.tolist() == ["n", "right", "acc_pct", "low_pct", "high_pct"]
    assert table[["n", "right", "acc_pct"]].to_numpy().tolist() == [[4, 3, 75], [7, 0, 0]]
    for name, k, n in (("M(X)", 3, 4), ("X_A", 0, 7)):
        assert table.loc[name, ["low_pct", "high_pct"]].tolist() == pytest.approx(wilson(k, n), abs=1e-9)
    with pytest.raises(ValueError, match=r"right\['empty'\] must hold at least one image"):
        share_table({"empty": np.zeros(0, bool)})


def test_a_paired_difference_by_hand():
    "Of eight images one is broken, three are repaired, two are right and two wrong both times."
    before = np.array([1, 0, 0, 0, 1, 1, 0, 0], bool)
    after = np.array([0, 1, 1, 1, 1, 1, 0, 0], bool)
    difference, spread = paired_difference(before, after)
    assert difference == 25
    changes = after.astype(float) - before  # −1, +1, +1, +1, 0, 0, 0, 0: mean ¼, mean square ½
    assert spread == pytest.approx(100 * 1.96 * math.sqrt((1 / 2 - 1 / 16) / 8))
    assert spread == pytest.approx(100 * 1.96 * changes.std() / math.sqrt(8))
    assert paired_difference(after, before) == (-25, pytest.approx(spread))


def test_the_paired_interval_is_the_spread_of_repeated_experiments_and_the_unpaired_is_not():
    "Images on which two ways agree more often than chance, drawn 2,000 times."
    rng, n = np.random.default_rng(0), 200
    easy = rng.random((2000, n)) < 0.7  # right both times; the others by chance
    before, after = (easy | (rng.random((2000, n)) < share) for share in (0.2, 0.3))
    found = np.array([paired_difference(*rows) for rows in zip(before, after, strict=True)])
    differences, spread = found[:, 0], found[:, 1].mean()
    assert 1.96 * differences.std() == pytest.approx(spread, rel=0.05)  # a spread of 2,000 is known to 1.6 %
    unpaired = 196 * np.sqrt(sum(side.mean() * (1 - side.mean()) for side in (before, after)) / n)
    assert unpaired > 1.4 * spread


def test_table_1_and_table_2_share_the_paired_difference():
    before, after = np.random.default_rng(0).random((2, 300)) < 0.8
    row = accuracy_row(before, after)
    assert (row["difference_points"], row["difference_spread"]) == paired_difference(before, after)
    assert row["masked_acc_pct"] - row["standard_acc_pct"] == pytest.approx(row["difference_points"])
    for name, right in (("standard", before), ("masked", after)):
        ends = (row[f"{name}_low_pct"], row[f"{name}_high_pct"])
        assert ends == pytest.approx(wilson(right.sum(), 300), abs=1e-9)


@pytest.mark.parametrize("counts", [(3, 4), (0, 0)])
def test_differences_of_other_images_are_refused(counts):
    before, after = (np.ones(count, bool) for count in counts)
    for function in (paired_difference, accuracy_row):
        with pytest.raises(ValueError, match="before and after must hold the same images, at least one"):
            function(before, after)


def test_a_mean_and_its_interval():
    values = np.random.default_rng(0).normal(3, 2, 50)
    expected = (values.mean(), 1.96 * values.std(ddof=1) / math.sqrt(50))
    assert mean_spread(pd.Series(values)) == pytest.approx(expected, rel=1e-12)


def test_differences_of_bands_are_from_the_named_reference():
    masks = {"low": orbit(0, 1), "high": orbit(0, 7), "both": (orbit(0, 1) + orbit(0, 7)) / 2}
    for reference in masks:
        table = band_table(masks, reference, 4).set_index(["mask", "direction"])
        for name in masks:
            for direction, energy in ENERGIES.items():
                expected = energy(masks[name][0], 4) - energy(masks[reference][0], 4)
                assert table.loc[(name, direction)].difference.tolist() == expected.tolist()
    with pytest.raises(ValueError, match="reference must be one of low, high, both; got 'none'"):
        band_table(masks, "none")


@pytest.mark.parametrize("size", [(8, 8), (9, 6), (1, 1)])
def test_isotropic_keeps_the_size_and_what_has_no_direction(size):
    mask = torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flat = isotropic(mask, 4)
    assert flat.mean().item() == pytest.approx(mask.mean().item())
    torch.testing.assert_close(isotropic(flat, 4), flat)
    names = ["as it is", "without direction"]
    summary = mask_summary(torch.stack([mask, flat])[:, None].float(), names)
    assert summary["size"].iloc[0] == pytest.approx(summary["size"].iloc[1], rel=1e-6)  # float32


def test_exceeding_is_strict_and_equal_pairs_are_counted():
    masks = torch.stack([orbit(0, 1), orbit(0, 1, height=0.2), torch.zeros(1, 16, 16), orbit(3, 0)])
    reference = torch.stack([orbit(0, 7), orbit(0, 1), orbit(0, 1), torch.zeros(1, 16, 16)])
    table = exceed_table(masks, reference, n=4)
    bands = table.groupby("direction", sort=False).band.apply(list)
    assert bands.to_dict() == {"radial": [0, 1, 2, 3], "angular": [0, 1, 2, 3]}
    # rings of 0.177 cycles per pixel: 1/16 in ring 0, 3/16 in ring 1, 7/16 in ring 2
    radial = table[table.direction == "radial"]
    assert radial.exceeds_pct.tolist() == [25, 25, 0, 0] and radial.equal_pct.tolist() == [50, 75, 75, 100]
    # quarters: u alone at angles 0 and π, v alone at π/2 and 3π/2
    angular = table[table.direction == "angular"]
    assert angular.exceeds_pct.tolist() == [0, 25, 0, 25] and angular.equal_pct.tolist() == [75, 75, 75, 75]
    assert table[["low_pct", "high_pct"]].iloc[0].tolist() == pytest.approx(wilson(1, 4), abs=1e-9)
    assert not table.isna().to_numpy().any()


@pytest.mark.parametrize("size", [(16, 16), (9, 6), (1, 1)])
def test_a_mask_never_exceeds_itself_and_one_side_mirrors_the_other(size):
    masks, reference = torch.rand(2, 6, 3, *size, generator=torch.Generator().manual_seed(0))
    masks[0] = 0
    same = exceed_table(masks, masks.clone())
    assert same.exceeds_pct.eq(0).all() and same.equal_pct.eq(100).all()
    there, back = exceed_table(masks, reference), exceed_table(reference, masks)
    total = there.exceeds_pct + back.exceeds_pct + there.equal_pct
    np.testing.assert_allclose(total, 100, rtol=1e-12)  # sums of sixths


@pytest.mark.parametrize("function", [exceed_table, centroid_shift])
def test_pairs_that_are_none_are_refused(function):
    masks = torch.rand(3, 1, 8, 8)
    not_finite = masks.clone()
    not_finite[1] = torch.nan
    with pytest.raises(ValueError, match="must be of the same images"): function(masks, masks[:2])
    with pytest.raises(ValueError, match="must be of the same images"): function(masks[:0], masks[:0])
    with pytest.raises(ValueError, match="reference must be finite"): function(masks, not_finite)


def test_centroids_by_hand_and_empty_masks_left_out():
    low, high, nothing = orbit(0, 2), orbit(0, 6), torch.zeros(1, 16, 16)
    masks = torch.stack([low, low, low, nothing, nothing])
    shift = centroid_shift(masks, torch.stack([high, low, high, high, nothing]))
    differences = np.array([-4, 0, -4]) / 16
    assert (shift["pairs"], shift["left_out"]) == (3, 2)
    assert shift["shift_cyc"] == pytest.approx(differences.mean())
    assert shift["spread_cyc"] == pytest.approx(1.96 * differences.std(ddof=1) / np.sqrt(3))
    with pytest.raises(ValueError, match="at least two pairs without an empty mask; got 1 of 2"):
        centroid_shift(torch.stack([low, nothing]), torch.stack([low, low]))
