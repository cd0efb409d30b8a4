"The linear classifier on masks: its split, its minimum, its controls, and the map."
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from planes import blobs

from fourier_mask.separability import (
    embed,
    linear_classifier,
    match_spread,
    permutation_control,
    permutation_p,
    permute_within,
    split_by_class,
)


def test_the_split_keeps_the_classes_shares_and_repeats():
    labels = np.repeat([0, 1, 2, 7], [100, 60, 40, 20])
    train_rows, test_rows = split_by_class(labels)
    assert np.bincount(labels[test_rows]).tolist() == [15, 9, 6, 0, 0, 0, 0, 3]
    assert np.array_equal(np.sort(np.concatenate([train_rows, test_rows])), np.arange(220))
    again, other = split_by_class(torch.from_numpy(labels)), split_by_class(labels, seed=1)
    assert np.array_equal(again[1], test_rows) and not np.array_equal(other[1], test_rows)
    assert len(split_by_class(labels, 0.5)[1]) == 110


@pytest.mark.parametrize(("labels", "test"), [
    ([0, 0, 1], 0.5),
    ([0, 0, 1, 1], 0.15),
    ([0, 0, 1, 1], 0),
    ([0, 0, 1, 1], 1.5),
    ([], 0.5),
])
def test_splits_that_cannot_be_are_refused(labels, test):
    with pytest.raises(ValueError, match="labels must hold at least two rows of each class"):
        split_by_class(np.array(labels, int), test)


def stated_minimum(rows, labels, weight_decay):
    "Weights and bias that minimise the stated objective, by torch on the features as they are."
    W = torch.zeros(rows.shape[1], int(labels.max()) + 1, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(W.shape[1], dtype=torch.float64, requires_grad=True)
    stopping = dict(max_iter=2000, tolerance_grad=1e-11, tolerance_change=0)
    optimizer = torch.optim.LBFGS([W, b], line_search_fn="strong_wolfe", **stopping)

    def objective():
        optimizer.zero_grad()
        loss = F.cross_entropy(rows @ W + b, labels) + weight_decay / 2 * W.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return W.detach(), b.detach()


def centred(logits):
    "A constant on all logits is free."
    return logits - logits.mean(1, keepdim=True)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("weight_decay", [5e-3, 0.5])
@pytest.mark.parametrize("entries", [(1, 2, 4), (2, 8, 9)], ids=["more rows", "more entries"])
def test_the_classifier_is_the_minimum_of_the_stated_objective(classes, weight_decay, entries):
    features, labels = blobs(90, classes, entries)
    train_rows, test_rows = split_by_class(labels)
    answer = linear_classifier(features, labels, train_rows, test_rows, weight_decay=weight_decay)
    rows = features.flatten(1)
    W, b = stated_minimum(rows[train_rows], labels[train_rows], weight_decay)
    theirs, ours = (rows @ W + b), torch.from_numpy(answer["logits"])
    # a gradient of 1e-6 over a curvature of 5e-3, times the rows' size of 10
    torch.testing.assert_close(centred(ours), centred(theirs), rtol=0, atol=5e-3)
    right = (theirs.argmax(1) == labels).double()
    for part, chosen in (("train", train_rows), ("test", test_rows)):
        assert answer[f"{part}_acc_pct"] == pytest.approx(100 * right[chosen].mean().item())


def test_the_classifier_does_not_see_held_out_rows_or_the_origin_or_the_basis():
    features, labels = blobs(60)
    train_rows, test_rows = split_by_class(labels)
    logits = linear_classifier(features, labels, train_rows, test_rows)["logits"]
    spoiled = features.clone()
    spoiled[test_rows[0]] = 1e3
    of_spoiled = linear_classifier(spoiled, labels, train_rows, test_rows)["logits"]
    torch.testing.assert_close(of_spoiled[train_rows], logits[train_rows], rtol=0, atol=0)
    noise = torch.randn(20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    moved = features.flatten(1) @ torch.linalg.qr(noise)[0] + 7
    of_moved = linear_classifier(moved, labels, train_rows, test_rows)["logits"]
    np.testing.assert_allclose(of_moved, logits, rtol=0, atol=5e-3)  # both within the solver's tolerance of one minimum


def test_separable_labels_are_all_found_and_equal_rows_give_the_majority():
    features, labels = blobs(60, distance=20.0)
    answer = linear_classifier(features.float(), labels, *split_by_class(labels))
    assert answer["train_acc_pct"] == answer["test_acc_pct"] == 100 and answer["logits"].shape == (60, 3)
    many = torch.cat([labels, torch.zeros(20, dtype=torch.long)])
    of_equal = linear_classifier(torch.zeros(80, 4), many, *split_by_class(many))
    assert of_equal["train_acc_pct"] == pytest.approx(50, abs=1)  # 40 of 80, in the training rows up to rounding


def test_what_cannot_be_fitted_is_refused():
    features, labels = blobs(30)
    rows = split_by_class(labels, 0.2)
    with pytest.raises(ValueError, match="weight_decay must be above 0"):
        linear_classifier(features, labels, *rows, weight_decay=0.0)
    with pytest.raises(ValueError, match="at least two classes"):
        linear_classifier(features, torch.zeros_like(labels), *rows)
    with pytest.raises(ValueError, match="features must be finite"):
        linear_classifier(features / 0, labels, *rows)
    with pytest.raises(ValueError, match="features must differ"):
        match_spread(torch.ones(30, 2), features, rows[0])


def test_the_spread_is_matched_over_the_given_rows():
    features, reference = np.random.default_rng(0).normal(5, 40, (30, 3)), torch.rand(30, 1, 2, 2)
    matched = match_spread(features, reference, np.arange(20))
    assert matched[:20].var(0).sum() == pytest.approx(reference[:20].double().numpy().var(0).sum())
    np.testing.assert_allclose(matched / features, (matched / features)[0, 0], rtol=1e-12)  # one number for all


def test_permuted_labels_keep_their_counts_in_each_part():
    labels = np.repeat([0, 1, 2, 3], [30, 20, 10, 5])
    parts = split_by_class(labels)
    rng, before = np.random.default_rng(0), labels.copy()
    drawn = [permute_within(labels, parts, rng) for _ in range(5)]
    assert np.array_equal(labels, before) and len({tuple(permuted) for permuted in drawn}) == 5
    for permuted in drawn:
        for rows in parts:
            assert np.array_equal(np.bincount(permuted[rows]), np.bincount(labels[rows]))


def test_kept_permutations_are_learned_but_do_not_carry_over():
    features, labels = blobs(200, 5, (1, 10, 10), distance=4.0)
    rows = split_by_class(labels)
    controls = permutation_control(features, labels, *rows, n=30)
    answer = linear_classifier(features, labels, *rows)
    assert controls.shape == (30, 2)
    assert controls.train_acc_pct.min() > 60  # labels drawn anew at each look would stay at 20
    # 30 means of 30 rows: standard error 1.3, and the permutations share their rows
    assert abs(controls.test_acc_pct.mean() - 20) < 6
    assert answer["test_acc_pct"] > 80
    assert permutation_p(answer["test_acc_pct"], controls.test_acc_pct) == 1 / 31
    again, other = (permutation_control(features, labels, *rows, n=4, seed=seed) for seed in (0, 1))
    pd.testing.assert_frame_equal(controls.head(4), again)
    assert not controls.head(4).equals(other)


def test_the_controls_looser_fit_scores_as_the_tight_one():
    features, labels = blobs(200, 5, (1, 10, 10), distance=2.0)
    rows = split_by_class(labels)
    permuted = permute_within(labels.numpy(), rows, np.random.default_rng(0))
    tight = linear_classifier(features, permuted, *rows)
    control = permutation_control(features, labels, *rows, n=1).iloc[0]  # draws the same permutation first
    assert control.train_acc_pct == pytest.approx(tight["train_acc_pct"], abs=1)  # a row on the edge in each part
    assert control.test_acc_pct == pytest.approx(tight["test_acc_pct"], abs=4)


def test_p_values_by_hand():
    scores = np.array([20.0, 25.0, 25.0, 30.0])
    found = [permutation_p(value, scores) for value in (19.0, 25.0, 30.0, 31.0)]
    assert found == [5 / 5, 4 / 5, 2 / 5, 1 / 5]


def test_maps_need_more_rows_than_neighbours():
    with pytest.raises(ValueError, match="more than n_neighbors=20 rows; got 20"): embed(torch.rand(20, 3))
    with pytest.raises(ValueError, match="features must be finite"): embed(torch.full((8, 3), torch.nan), n_neighbors=3)
