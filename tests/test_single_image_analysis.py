"Analysis and pictures of masks of single images: counts by hand, pairs of masks, the linear classifier and its controls, maps."
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from fourier_mask import analysis, plots
from fourier_mask.spectrum import mirror


def orbit(v, u, size=(16, 16), height=1.0):
    "A mask of one frequency and its mirror image."
    mask = torch.zeros(1, *size)
    mask[0, v, u] = height
    return torch.maximum(mask, mirror(mask))


def blobs(n=90, classes=3, entries=(1, 4, 5), distance=1.0, seed=0):
    "Noise with one entry raised for each class, and the labels."
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    rows = torch.randn(n, int(np.prod(entries)), generator=generator, dtype=torch.float64)
    rows[:, :classes] += distance * F.one_hot(labels, classes)
    return rows.reshape(n, *entries), labels


def wilson(k, n, z=1.959963984540054):
    "Wilson's interval, written out."
    p, q = k / n, z * z / n
    middle, half = (p + q / 2) / (1 + q), z / (1 + q) * np.sqrt(p * (1 - p) / n + q / (4 * n))
    return 100 * (middle - half), 100 * (middle + half)


def test_shares_by_hand():
    table = analysis.share_table({"M(X)": np.array([True, True, False, True]), "X_A": torch.zeros(7, dtype=torch.bool)})
    assert table.index.tolist() == ["M(X)", "X_A"] and table.columns.tolist() == ["n", "right", "acc_pct", "low_pct", "high_pct"]
    assert table[["n", "right", "acc_pct"]].to_numpy().tolist() == [[4, 3, 75], [7, 0, 0]]
    for name, k, n in (("M(X)", 3, 4), ("X_A", 0, 7)):
        assert table.loc[name, ["low_pct", "high_pct"]].tolist() == pytest.approx(wilson(k, n), abs=1e-9)
    with pytest.raises(ValueError, match=r"right\['empty'\] must hold at least one image"): analysis.share_table({"empty": np.zeros(0, bool)})


def test_exceeding_is_strict_and_equal_pairs_are_counted():
    masks = torch.stack([orbit(0, 1), orbit(0, 1, height=0.2), torch.zeros(1, 16, 16), orbit(3, 0)])
    reference = torch.stack([orbit(0, 7), orbit(0, 1), orbit(0, 1), torch.zeros(1, 16, 16)])
    table = analysis.exceed_table(masks, reference, n=4)
    assert table.groupby("direction", sort=False).band.apply(list).to_dict() == {"radial": [0, 1, 2, 3], "angular": [0, 1, 2, 3]}
    radial = table[table.direction == "radial"]  # rings of 0.177 cycles per pixel: 1/16 in ring 0, 3/16 in ring 1, 7/16 in ring 2
    assert radial.exceeds_pct.tolist() == [25, 25, 0, 0] and radial.equal_pct.tolist() == [50, 75, 75, 100]
    angular = table[table.direction == "angular"]  # quarters: u alone at angles 0 and π, v alone at π/2 and 3π/2
    assert angular.exceeds_pct.tolist() == [0, 25, 0, 25] and angular.equal_pct.tolist() == [75, 75, 75, 75]
    assert table[["low_pct", "high_pct"]].iloc[0].tolist() == pytest.approx(wilson(1, 4), abs=1e-9)
    assert not table.isna().to_numpy().any()


@pytest.mark.parametrize("size", [(16, 16), (9, 6), (1, 1)])
def test_a_mask_never_exceeds_itself_and_one_side_mirrors_the_other(size):
    masks, reference = torch.rand(2, 6, 3, *size, generator=torch.Generator().manual_seed(0))
    masks[0] = 0
    same = analysis.exceed_table(masks, masks.clone())
    assert same.exceeds_pct.eq(0).all() and same.equal_pct.eq(100).all()
    there, back = analysis.exceed_table(masks, reference), analysis.exceed_table(reference, masks)
    np.testing.assert_allclose(there.exceeds_pct + back.exceeds_pct + there.equal_pct, 100, rtol=1e-12)  # sums of sixths


def test_pairs_that_are_none_are_refused():
    masks = torch.rand(3, 1, 8, 8)
    for function in (analysis.exceed_table, analysis.centroid_shift):
        with pytest.raises(ValueError, match="must be of the same images"): function(masks, masks[:2])
        with pytest.raises(ValueError, match="must be of the same images"): function(masks[:0], masks[:0])
        with pytest.raises(ValueError, match="reference must be finite"): function(masks, masks.clone().index_fill_(0, torch.tensor([1]), torch.nan))


def test_centroids_by_hand_and_empty_masks_left_out():
    low, high, nothing = orbit(0, 2), orbit(0, 6), torch.zeros(1, 16, 16)
    shift = analysis.centroid_shift(torch.stack([low, low, low, nothing, nothing]), torch.stack([high, low, high, high, nothing]))
    differences = np.array([-4, 0, -4]) / 16
    assert (shift["pairs"], shift["left_out"]) == (3, 2)
    assert shift["shift_cyc"] == pytest.approx(differences.mean()) and shift["spread_cyc"] == pytest.approx(1.96 * differences.std(ddof=1) / np.sqrt(3))
    with pytest.raises(ValueError, match="at least two pairs without an empty mask; got 1 of 2"):
        analysis.centroid_shift(torch.stack([low, nothing]), torch.stack([low, low]))


def test_the_split_keeps_the_classes_shares_and_repeats():
    labels = np.repeat([0, 1, 2, 7], [100, 60, 40, 20])
    train_rows, test_rows = analysis.split_by_class(labels)
    assert np.bincount(labels[test_rows]).tolist() == [15, 9, 6, 0, 0, 0, 0, 3] and np.array_equal(np.sort(np.concatenate([train_rows, test_rows])), np.arange(220))
    again, other = analysis.split_by_class(torch.from_numpy(labels)), analysis.split_by_class(labels, seed=1)
    assert np.array_equal(again[1], test_rows) and not np.array_equal(other[1], test_rows)
    assert len(analysis.split_by_class(labels, 0.5)[1]) == 110


@pytest.mark.parametrize(("labels", "test"), [([0, 0, 1], 0.5), ([0, 0, 1, 1], 0.15), ([0, 0, 1, 1], 0), ([0, 0, 1, 1], 1.5), ([], 0.5)])
def test_splits_that_cannot_be_are_refused(labels, test):
    with pytest.raises(ValueError, match="labels must hold at least two rows of each class"): analysis.split_by_class(np.array(labels, int), test)


def stated_minimum(rows, labels, weight_decay):
    "Weights and bias that minimise the stated objective, by torch on the features as they are."
    W = torch.zeros(rows.shape[1], int(labels.max()) + 1, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(W.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([W, b], max_iter=2000, tolerance_grad=1e-11, tolerance_change=0, line_search_fn="strong_wolfe")

    def objective():
        optimizer.zero_grad()
        loss = F.cross_entropy(rows @ W + b, labels) + weight_decay / 2 * W.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return W.detach(), b.detach()


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("weight_decay", [5e-3, 0.5])
@pytest.mark.parametrize("entries", [(1, 2, 4), (2, 8, 9)], ids=["more rows", "more entries"])
def test_the_classifier_is_the_minimum_of_the_stated_objective(classes, weight_decay, entries):
    features, labels = blobs(90, classes, entries)
    train_rows, test_rows = analysis.split_by_class(labels)
    answer = analysis.linear_classifier(features, labels, train_rows, test_rows, weight_decay=weight_decay)
    rows = features.flatten(1)
    W, b = stated_minimum(rows[train_rows], labels[train_rows], weight_decay)
    theirs, ours = (rows @ W + b), torch.from_numpy(answer["logits"])
    center = lambda logits: logits - logits.mean(1, keepdim=True)  # a constant on all logits is free
    torch.testing.assert_close(center(ours), center(theirs), rtol=0, atol=5e-3)  # a gradient of 1e-6 over a curvature of 5e-3, times the rows' size of 10
    for part, chosen in (("train", train_rows), ("test", test_rows)):
        assert answer[f"{part}_acc_pct"] == pytest.approx(100 * (theirs.argmax(1) == labels)[chosen].double().mean().item())


def test_the_classifier_does_not_see_held_out_rows_or_the_origin_or_the_basis():
    features, labels = blobs(60)
    train_rows, test_rows = analysis.split_by_class(labels)
    answer = analysis.linear_classifier(features, labels, train_rows, test_rows)
    spoiled = features.clone()
    spoiled[test_rows[0]] = 1e3
    torch.testing.assert_close(analysis.linear_classifier(spoiled, labels, train_rows, test_rows)["logits"][train_rows], answer["logits"][train_rows], rtol=0, atol=0)
    rotation = torch.linalg.qr(torch.randn(20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    moved = analysis.linear_classifier(features.flatten(1) @ rotation + 7, labels, train_rows, test_rows)
    np.testing.assert_allclose(moved["logits"], answer["logits"], rtol=0, atol=5e-3)  # both within the solver's tolerance of one minimum


def test_separable_labels_are_all_found_and_equal_rows_give_the_majority():
    features, labels = blobs(60, distance=20.0)
    train_rows, test_rows = analysis.split_by_class(labels)
    answer = analysis.linear_classifier(features.float(), labels, train_rows, test_rows)
    assert answer["train_acc_pct"] == answer["test_acc_pct"] == 100 and answer["logits"].shape == (60, 3)
    many = torch.cat([labels, torch.zeros(20, dtype=torch.long)])
    rows = analysis.split_by_class(many)
    assert analysis.linear_classifier(torch.zeros(80, 4), many, *rows)["train_acc_pct"] == pytest.approx(50, abs=1)  # 40 of 80, in the training rows up to rounding


def test_what_cannot_be_fitted_is_refused():
    features, labels = blobs(30)
    rows = analysis.split_by_class(labels, 0.2)
    with pytest.raises(ValueError, match="weight_decay must be above 0"): analysis.linear_classifier(features, labels, *rows, weight_decay=0.0)
    with pytest.raises(ValueError, match="at least two classes"): analysis.linear_classifier(features, torch.zeros_like(labels), *rows)
    with pytest.raises(ValueError, match="features must be finite"): analysis.linear_classifier(features / 0, labels, *rows)
    with pytest.raises(ValueError, match="features must differ"): analysis.match_spread(torch.ones(30, 2), features, rows[0])


def test_the_spread_is_matched_over_the_given_rows():
    features, reference = np.random.default_rng(0).normal(5, 40, (30, 3)), torch.rand(30, 1, 2, 2)
    matched = analysis.match_spread(features, reference, np.arange(20))
    assert matched[:20].var(0).sum() == pytest.approx(reference[:20].double().numpy().var(0).sum())
    np.testing.assert_allclose(matched / features, (matched / features)[0, 0], rtol=1e-12)  # one number for all


def test_permuted_labels_keep_their_counts_in_each_part():
    labels = np.repeat([0, 1, 2, 3], [30, 20, 10, 5])
    parts = analysis.split_by_class(labels)
    rng, before = np.random.default_rng(0), labels.copy()
    drawn = [analysis.permute_within(labels, parts, rng) for _ in range(5)]
    assert np.array_equal(labels, before) and len({tuple(permuted) for permuted in drawn}) == 5
    for permuted in drawn:
        for rows in parts: assert np.array_equal(np.bincount(permuted[rows]), np.bincount(labels[rows]))


def test_kept_permutations_are_learned_but_do_not_carry_over():
    features, labels = blobs(200, 5, (1, 10, 10), distance=4.0)
    rows = analysis.split_by_class(labels)
    controls = analysis.permutation_control(features, labels, *rows, n=30)
    answer = analysis.linear_classifier(features, labels, *rows)
    assert controls.shape == (30, 2) and controls.train_acc_pct.min() > 60  # labels drawn anew at each look would stay at 20
    assert abs(controls.test_acc_pct.mean() - 20) < 6  # 30 means of 30 rows: standard error 1.3, and the permutations share their rows
    assert answer["test_acc_pct"] > 80 and analysis.permutation_p(answer["test_acc_pct"], controls.test_acc_pct) == 1 / 31
    pd.testing.assert_frame_equal(controls.head(4), analysis.permutation_control(features, labels, *rows, n=4))
    assert not controls.head(4).equals(analysis.permutation_control(features, labels, *rows, n=4, seed=1))


def test_the_controls_looser_fit_scores_as_the_tight_one():
    features, labels = blobs(200, 5, (1, 10, 10), distance=2.0)
    train_rows, test_rows = analysis.split_by_class(labels)
    permuted = analysis.permute_within(labels.numpy(), (train_rows, test_rows), np.random.default_rng(0))
    tight = analysis.linear_classifier(features, permuted, train_rows, test_rows)
    control = analysis.permutation_control(features, labels, train_rows, test_rows, n=1).iloc[0]  # draws the same permutation first
    assert control.train_acc_pct == pytest.approx(tight["train_acc_pct"], abs=1) and control.test_acc_pct == pytest.approx(tight["test_acc_pct"], abs=4)  # a row on the edge in each part


def test_p_values_by_hand():
    scores = np.array([20.0, 25.0, 25.0, 30.0])
    assert [analysis.permutation_p(value, scores) for value in (19.0, 25.0, 30.0, 31.0)] == [5 / 5, 4 / 5, 2 / 5, 1 / 5]


def test_maps_need_more_rows_than_neighbours():
    with pytest.raises(ValueError, match="more than n_neighbors=20 rows; got 20"): analysis.embed(torch.rand(20, 3))
    with pytest.raises(ValueError, match="features must be finite"): analysis.embed(torch.full((8, 3), torch.nan), n_neighbors=3)


def pictures():
    "Each picture with small data: the function's name, its figure's panels, and the titles that a reader looks for."
    masks, x = torch.stack([orbit(0, 1), orbit(2, 3), orbit(0, 5)]), torch.rand(3, 3, 16, 16)
    table = analysis.share_table({name: np.arange(9) < 4 for name in plots.SHARES})
    points, labels, is_train = np.random.default_rng(0).random((12, 2)), np.arange(12) % 3, np.arange(12) < 9
    yield "plot_class_masks", plots.plot_class_masks({"a": (masks[0, 0], masks[:, 0]), "b": (masks[0, 0], masks[:2, 0])}), 8, ["Class 0: a", "Class 1: b"]
    yield "plot_filtered", plots.plot_filtered(x, x * 2, x - 9), 9, []
    columns = ["$x$", "$x_A$", "$M_{N,x}$", "$M_{N,x}(x)$", "$M_{N,x}(x_A)$", "$M'_{N,x}$", "$M'_{N,x}(x)$"]
    yield "plot_mask_columns", plots.plot_mask_columns(x, x, masks=masks, x_masked=x, attacked_masked=x, complements=1 - masks, x_complement=x), 21, [f"({a}) - {b}" for a, b in zip("ABCDEFG", columns, strict=True)]
    yield "plot_shares", plots.plot_shares(table), 1, []
    yield "plot_shares", plots.plot_shares(table, table.iloc[[0, 3]]), 1, []
    yield "plot_exceed", plots.plot_exceed(analysis.exceed_table(masks, masks.flip(0), n=8)), 2, ["(A)", "(B)"]
    yield "plot_permutations", plots.plot_permutations(pd.DataFrame({"test_acc_pct": [20.0, 20.0, 20.0]}), {"masks": 90.0}), 1, []
    yield "plot_embeddings", plots.plot_embeddings({"map": (points, labels, is_train)}, ["a", "b", "c"]), 1, ["map"]


def test_pictures_have_the_papers_panels_and_titles():
    for name, figure, panels, titles in pictures():
        assert isinstance(figure, Figure) and len(figure.axes) == panels, name
        assert [ax.get_title() for ax in figure.axes if ax.get_title()] == titles, name
        figure.draw_without_rendering()


def test_bars_and_columns_show_what_they_were_given():
    table = analysis.share_table({name: np.arange(8) < k for name, k in zip(plots.SHARES, (8, 4, 0, 6), strict=True)})
    ax = plots.plot_shares(table, table.loc[["M(X_A)"]]).axes[0]
    assert [text.get_text() for text in ax.texts] == ["100.00%", "50.00%", "0.00%", "75.00%", "75.00%"]
    assert sorted(round(bar.get_x() + bar.get_width() / 2, 2) for bar in ax.patches) == [0, 1, 2, 2.78, 3.22]
    exceed = analysis.exceed_table(torch.stack([orbit(0, 1)] * 2), torch.stack([orbit(0, 7), orbit(0, 1)]), n=4)
    bars = [bar.get_height() for bar in plots.plot_exceed(exceed).axes[0].patches]
    assert bars == [50, 100, 50, 100] + [50, 0, 0, 0]  # gray ones first
    mask = orbit(0, 1)[None]
    columns = plots.plot_mask_columns(torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16), masks=mask, x_masked=mask, attacked_masked=mask, complements=1 - mask, x_complement=mask)
    assert np.argwhere(columns.axes[2].images[0].get_array() == 1).tolist() == [[8, 7], [8, 9]]  # beside the middle
    assert columns.axes[5].images[0].get_clim() == columns.axes[2].images[0].get_clim() == (0, 1)
