"Several networks asked by all methods: each answer is the method's own, rings agree, what cannot be asked is said."
import math

import numpy as np
import pandas as pd
import pytest
import torch
from mask_sets import random_set
from scipy.stats import spearmanr, t
from small import in_unit, small_images
from torch import nn

from fourier_mask import diagnosis
from fourier_mask.activations import layer_centroids
from fourier_mask.band_attacks import perturbations
from fourier_mask.diagnosis import QUESTIONS, diagnose, plot_curves, plot_rank_agreement, rank_agreement, save_diagnosis
from fourier_mask.pass_filters import blurred_accuracy, hybrid_curve, pass_curves
from fourier_mask.sensitivity import sensitivity_map
from fourier_mask.texture import patch_accuracy

SIZE = (8, 6)
USUAL = dict(rings=3, grid=None, attacked=3, steps=2, batch_size=5)


def network(seed=0, channels=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 48, 3))


def images_and_labels(channels=1):
    x = in_unit(small_images(9, SIZE)[0]).float().expand(-1, channels, -1, -1)
    return x.contiguous(), torch.arange(9) % 3


@pytest.fixture(scope="module")
def found():
    "Two networks, one with a mask, asked everything."
    models = {"a": network(0), "$b$": network(1)}
    x, y = images_and_labels()
    return models, x, y, diagnose(models, x, y, masks={"a": random_set(1, size=SIZE)}, **USUAL)


def test_every_question_is_asked_of_every_network(found):
    models, _, _, all_ = found
    assert [*all_.answers] == [*QUESTIONS] and not all_.left_out
    for name, answer in all_.answers.items():
        assert set(answer.table.network) == {*models}, name
        answer.figure.canvas.draw()


def test_each_answer_is_the_methods_own(found):
    models, x, y, all_ = found
    asked = dict(batch_size=5)
    for name, model in models.items():
        of = {question: answer.table[answer.table.network == name].drop(columns="network").reset_index(drop=True)
              for question, answer in all_.answers.items()}
        cuts = [1e-6, math.sqrt(0.5) / 3, 2 * math.sqrt(0.5) / 3, 1.0]  # the mean alone first
        pd.testing.assert_frame_equal(of["filters"], pass_curves(model, x, y, cuts, **asked))
        pd.testing.assert_frame_equal(of["hybrids"], hybrid_curve(model, x, y, cuts, seed=0, **asked))
        pd.testing.assert_frame_equal(of["layers"], layer_centroids(model, x, **asked).reset_index())
        pd.testing.assert_frame_equal(of["texture"], patch_accuracy(model, x, y, seed=0, **asked).reset_index())
        rows = [0, 4, 8]  # three of nine, evenly; ε is the settings' own, 8/255
        added = perturbations(model, x[rows], y[rows], "PGD", eps=8 / 255, seed=0, **asked)
        blurred = blurred_accuracy(model, x[rows], y[rows], (x[rows] + added).clamp(0, 1), cuts, **asked)
        pd.testing.assert_frame_equal(of["blur"], blurred)
        heat = sensitivity_map(model, x, y, progress=False, **asked)
        assert of["waves"]["mean"][0] == pytest.approx(heat.share.mean().item())
        drawn = all_.curves().loc[name]["heat map"].to_numpy()
        np.testing.assert_allclose(drawn, heat.radial(3, zero=False).numpy() - heat.without, rtol=1e-6)  # float32


def test_curves_are_of_the_same_rings(found):
    models, x, y, all_ = found
    curves = all_.curves()
    assert list(curves.columns) == ["mask", "heat map", "single Fourier", "low pass", "ring removed", "PGD",
                                    "image amplitude"]
    assert {*curves.index.get_level_values("network")} == {*models} and len(curves) == 6
    assert curves.loc["$b$"]["mask"].isna().all() and curves.drop(columns="mask").notna().all().all()
    v, u = torch.fft.fftfreq(8).double()[:, None], torch.fft.fftfreq(6).double()[None]
    ring = ((v**2 + u**2).sqrt() * 3 / math.sqrt(0.5)).long().clamp(max=2)
    ring[0, 0] = -1  # zero frequency is in none
    of_plane = lambda plane: [plane[ring == i].mean().item() for i in range(3)]
    np.testing.assert_allclose(curves.loc["a"]["mask"].to_numpy(), of_plane(random_set(1, size=SIZE).masks[0, 0]), 1e-6)
    amplitude = torch.fft.fft2(x.double()).abs().mean((0, 1))
    there, wanted = curves.loc["$b$"]["image amplitude"].to_numpy(), np.array(of_plane(amplitude))
    np.testing.assert_allclose(there / there[0], wanted / wanted[0], rtol=1e-5)  # float32
    right = (models["a"](x).argmax(1) == y).double().mean()
    for ring, (low, high) in enumerate([(-1, math.sqrt(0.5) / 3), (math.sqrt(0.5) / 3, 2 * math.sqrt(0.5) / 3)]):
        stays = ((v**2 + u**2).sqrt() < low) | ((v**2 + u**2).sqrt() >= high)
        stays[0, 0] = True
        left = torch.fft.ifft2(torch.fft.fft2(x.double()) * stays).real.float()
        lost = 100 * (right - (models["a"](left).argmax(1) == y).double().mean())
        assert curves.loc["a"]["ring removed"][ring] == pytest.approx(lost.item())


def test_networks_are_left_as_they_were_and_nothing_is_drawn_from_the_global_generator():
    model, (x, y), state = network().train(), images_and_labels(), torch.get_rng_state()
    first = diagnose({"a": model}, x, y, **USUAL)
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.get_rng_state())
    pd.testing.assert_frame_equal(first.curves(), diagnose({"a": model}, x, y, **USUAL).curves())


def test_colour_and_the_networks_own_answers():
    x, _ = images_and_labels(3)
    all_ = diagnose({"a": network(2, 3)}, x, **USUAL)
    assert all_.answers["waves"].table.without[0] == 0  # its own answers are right
    assert {*all_.left_out} <= {"hybrids"}  # if it says one class of all


def test_what_cannot_be_asked_is_left_out_and_said(annotations_off):
    x, y = images_and_labels()
    model = network()
    some = diagnose({"a": lambda x: model(x)}, x, y, only=["layers", "waves"], **USUAL)
    assert [*some.answers] == ["waves"] and "model must be a network" in some.left_out["layers"]
    with pytest.raises(ValueError, match="models cannot be asked layers: model must be a network"):
        diagnose({"a": lambda x: model(x)}, x, y, only=["layers"], **USUAL)
    with pytest.raises(ValueError, match="labels must name at least two classes"):
        diagnose({"a": model}, x, torch.zeros(9, dtype=torch.long), only=["hybrids"], **USUAL)


def table(values):
    "Curves of a method and a baseline beside a mask: by network, rows of rings."
    index = pd.MultiIndex.from_product([list(values), range(len(next(iter(values.values()))))],
                                       names=["network", "ring"])
    return pd.DataFrame(np.concatenate(list(values.values())), index=index, columns=["mask", "same", "image amplitude"])


def test_agreement_is_spearmans_and_the_interval_students():
    random = np.random.default_rng(0)
    values = {}
    for name in "abcde":
        mask = random.normal(size=6)
        values[name] = np.stack([mask, np.exp(mask), random.normal(size=6)], 1)
    found = rank_agreement(table(values))
    assert (found.loc["same"][list("abcde")] == 1).all() and found.loc["same"]["low"] == found.loc["same"]["mean"] == 1
    each = [spearmanr(rows[:, 0], rows[:, 2]).statistic for rows in values.values()]
    np.testing.assert_allclose(found.loc["image amplitude"][list("abcde")].astype(float), each)
    half = t.ppf(0.975, 4) * np.std(each, ddof=1) / math.sqrt(5)
    base = found.loc["image amplitude"]
    assert base["mean"] == pytest.approx(np.mean(each)) and base["n"] == 5
    assert base["low"] == pytest.approx(max(np.mean(each) - half, -1))
    beyond = 1 - np.array(each)  # of the method that is the mask itself, paired by network
    half = t.ppf(0.975, 4) * beyond.std(ddof=1) / math.sqrt(5)
    same = found.loc["same"]
    assert same.beyond == pytest.approx(beyond.mean()) and same.beyond_low == pytest.approx(beyond.mean() - half)
    assert found.loc["image amplitude"].beyond == 0
    plot_rank_agreement(found).canvas.draw()
    one = rank_agreement(table({"a": values["a"]}))
    assert one.n.tolist() == [1, 1] and one.low.isna().all()  # of one network there is no interval
    flat = table({"a": np.ones((6, 3))})
    assert rank_agreement(flat)["mean"].isna().all()  # nothing can be put in order


def test_a_page_is_kept_whole_with_names_as_they_are_written(found, tmp_path):
    models, x, y, all_ = found
    page = save_diagnosis(all_, tmp_path / "new" / "page")
    names = {path.name for path in page.parent.iterdir()}
    assert names == {"diagnosis.html"} | {f"{q}.{end}" for q in [*QUESTIONS, "curves"] for end in ("png", "csv")}
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == len(QUESTIONS) + 1
    evil = diagnose({"<b>": models["a"]}, x, y, only=["removal"], **USUAL)
    text = save_diagnosis(evil, tmp_path / "evil").read_text(encoding="utf-8")
    assert "<b>" not in text and "&lt;b&gt;" in text
    kept = pd.read_csv(page.parent / "removal.csv")
    pd.testing.assert_frame_equal(kept, all_.answers["removal"].table)


def test_refusals(annotations_off):
    x, y = images_and_labels()
    models = {"a": network()}
    for change, told in ((dict(models=network()), "models must be a dictionary"), (dict(models={}), "models must be"),
                         (dict(models={"a": 3}), "models must be"), (dict(only="waves"), "only must be a list"),
                         (dict(only=["wavs"]), "only must be"), (dict(only=[]), "only must be"),
                         (dict(masks={"b": random_set(1, size=SIZE)}), "masks must be of the models"),
                         (dict(masks={"a": torch.ones(8, 6)}), "must be a MaskSet"),
                         (dict(masks={"a": random_set(2, size=SIZE)}), "must be one mask of"),
                         (dict(masks={"a": random_set(1, size=(6, 8))}), "must be one mask of"),
                         (dict(rings=1), "rings"), (dict(attacked=0), "attacked"),
                         (dict(images=x - 1, only=["waves"]), r"lie in \[0, 1\]")):
        with pytest.raises((TypeError, ValueError), match=told):
            diagnose(**dict(models=models, images=x, labels=y) | change)
    for call, told in ((lambda: rank_agreement(pd.DataFrame({"b": [1]})), "curves must have the column 'mask'"),
                       (lambda: plot_curves(None), "curves must be"),
                       (lambda: save_diagnosis({}, "x"), "found must be"),
                       (lambda: plot_rank_agreement(pd.DataFrame()), "table must be")):
        with pytest.raises((TypeError, ValueError), match=told): call()
    assert diagnosis.chosen_questions(None) == [*QUESTIONS]
