"Pictures: the paper's panels and titles, any names, and what bars, planes, masks and networks were given."
import base64
import io
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from mask_sets import random_set
from matplotlib.figure import Figure
from planes import orbit
from torch import nn

from fourier_mask import charts, curves, pictures, plot_mask_set
from fourier_mask.accuracy import accuracy_row, share_table
from fourier_mask.band_energies import band_table
from fourier_mask.basis import Cosine, RealFourier
from fourier_mask.mask_pairs import exceed_table
from fourier_mask.part import Phase
from fourier_mask.stability import BETWEEN, energy_bands
from fourier_mask.train import REGIMES


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def tick_labels(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def of_images():
    "Each picture of images with its number of panels and the titles that a reader looks for."
    masks, x = torch.stack([orbit(0, 1), orbit(2, 3), orbit(0, 5)]), torch.rand(3, 3, 16, 16)
    rows = {"a": (masks[0, 0], masks[:, 0]), "b": (masks[0, 0], masks[:2, 0])}
    yield pictures.plot_class_masks(rows), 8, ["Class 0: a", "Class 1: b"]
    yield pictures.plot_filtered(x, x * 2, x - 9), 9, []
    symbols = ["$x$", "$x_A$", "$M_{N,x}$", "$M_{N,x}(x)$", "$M_{N,x}(x_A)$", "$M'_{N,x}$", "$M'_{N,x}(x)$"]
    filtered = dict(x_masked=x, attacked_masked=x, x_complement=x)
    columns = pictures.plot_mask_columns(x, x, masks=masks, complements=1 - masks, **filtered)
    yield columns, 21, [f"({letter}) - {symbol}" for letter, symbol in zip("ABCDEFG", symbols, strict=True)]
    plane, image = masks[0, 0], x[0, 0]
    layer = pictures.plot_layer(image, image + 1, plane, plane * image, image, {"cat": (0.9, 0.8), "dog": (0.1, 0.2)})
    yield layer, 6, ["x", "|F(x)|", "M", "|M ⊙ F(x)|", "$x_M$"]


def of_tables():
    "Each picture of a table, likewise."
    masks = torch.stack([orbit(0, 1), orbit(2, 3), orbit(0, 5)])
    table = share_table({name: np.arange(9) < 4 for name in charts.SHARES})
    yield charts.plot_shares(table), 1, []
    yield charts.plot_shares(table, table.iloc[[0, 3]]), 1, []
    yield curves.plot_exceed(exceed_table(masks, masks.flip(0), n=8)), 2, ["(A)", "(B)"]
    yield charts.plot_permutations(pd.DataFrame({"test_acc_pct": [20.0, 20.0, 20.0]}), {"masks": 90.0}), 1, []
    points, labels, is_train = np.random.default_rng(0).random((12, 2)), np.arange(12) % 3, np.arange(12) < 9
    yield charts.plot_embeddings({"map": (points, labels, is_train)}, ["a", "b", "c"]), 1, ["map"]
    rows = pd.DataFrame([accuracy_row(np.ones(9, bool), np.arange(9) < 8)] * 2, index=["natural", "mine"])
    yield charts.plot_accuracies(rows), 1, ["Mask reliability"]


@pytest.mark.parametrize("kind", [of_images, of_tables])
def test_pictures_have_the_papers_panels_and_titles(kind):
    for figure, panels, expected in kind():
        assert isinstance(figure, Figure) and len(figure.axes) == panels, expected
        assert titles(figure) == expected
        figure.draw_without_rendering()
    assert not plt.get_fignums()


def test_masks_of_the_papers_networks_have_the_papers_letters():
    figure = pictures.plot_masks({name: torch.rand(8, 8) for name in REGIMES})
    assert titles(figure) == ["(A)", "(B)", "(C)", "(D)", "(E)", "(B-A)", "(C-A)", "(D-A)", "(E-A)"]


@pytest.mark.parametrize("names", [["resnet50", "my net"], ["rotation", "natural"], list("abcdefg")])
def test_masks_of_any_names_are_lettered_by_their_place(names):
    masks = {name: torch.rand(8, 8) for name in names}
    letters = "ABCDEFG"[: len(names)]
    figure = pictures.plot_masks(masks)
    assert titles(figure) == [f"({letter})" for letter in letters] + [f"({letter}-A)" for letter in letters[1:]]
    assert [ax.get_xlabel() for ax in figure.axes[: len(names)]] == names
    figure.draw_without_rendering()


def test_a_mask_alone_has_one_panel():
    assert titles(pictures.plot_masks({"alone": torch.rand(8, 8)})) == ["(A)"]


@pytest.mark.parametrize("reference", ["mine", "yours", "theirs"])
def test_band_energies_name_the_reference_they_are_from(reference):
    masks = {name: orbit(0, u) for name, u in (("mine", 1), ("yours", 4), ("theirs", 7))}
    table = band_table(masks, reference, 8)
    figure = curves.plot_band_energies(table, (16, 16), reference=reference)
    own = dict(zip(masks, "ABC", strict=True))
    expected = [f"({own[name]}-{own[reference]})" for name in masks if name != reference]
    assert titles(figure)[2::2] == [f"{pair} - Radial" for pair in expected]
    assert titles(figure)[3::2] == [f"{pair} - Angular" for pair in expected]
    first = next(name for name in masks if name != reference)
    bars = [bar.get_height() for bar in figure.axes[2].patches]
    assert bars == table[table["mask"].eq(first) & table.direction.eq("radial")].difference.tolist()


@pytest.mark.parametrize("wrong", ["yours", "nobody", "A"])
def test_a_reference_that_the_table_is_not_from_is_refused(wrong):
    table = band_table({"mine": orbit(0, 1), "yours": orbit(0, 4)}, "mine", 8)
    with pytest.raises(ValueError, match="reference must be the mask .* differences are from, one of mine"):
        curves.plot_band_energies(table, (16, 16), reference=wrong)


def test_only_the_control_is_shaded_and_own_names_stand_below():
    measures = dict(correlation=0.9, overlap=0.8, chance=0.5, top_overlap=0.7, top_chance=0.05)
    table = pd.DataFrame([measures] * 3).assign(regime=["natural", "my net", BETWEEN], kind="mask seeds")
    ax = charts.plot_agreement(table).axes[0]
    assert [patch.get_x() for patch in ax.patches] == [pytest.approx(2 - 0.45)]
    assert tick_labels(ax) == ["$M_N$", "my\nnet", "different\nregimes"]


def test_curves_of_own_names_have_colours_of_their_own():
    table = energy_bands(torch.stack([orbit(0, 1), orbit(0, 4)]), 8)
    ax = curves.plot_energy_spread({"mask seeds": {"mine": table, "yours": table}}).axes[0]
    mine, yours = ax.get_lines()
    assert mine.get_color() != yours.get_color()


def test_bars_show_what_they_were_given():
    right = {name: np.arange(8) < k for name, k in zip(charts.SHARES, (8, 4, 0, 6), strict=True)}
    table = share_table(right)
    ax = charts.plot_shares(table, table.loc[["M(X_A)"]]).axes[0]
    assert [text.get_text() for text in ax.texts] == ["100.00%", "50.00%", "0.00%", "75.00%", "75.00%"]
    middles = sorted(round(bar.get_x() + bar.get_width() / 2, 2) for bar in ax.patches)
    assert middles == [0, 1, 2, 2.78, 3.22]
    exceed = exceed_table(torch.stack([orbit(0, 1)] * 2), torch.stack([orbit(0, 7), orbit(0, 1)]), n=4)
    bars = [bar.get_height() for bar in curves.plot_exceed(exceed).axes[0].patches]
    assert bars == [50, 100, 50, 100] + [50, 0, 0, 0]  # gray ones first


def test_every_kind_of_features_has_its_line():
    accuracies = {f"features {i}": 10.0 * i for i in range(6)}
    figure = charts.plot_permutations(pd.DataFrame({"test_acc_pct": [20.0, 25.0]}), accuracies)
    assert [line.get_xdata()[0] for line in figure.axes[0].get_lines()] == list(accuracies.values())


def test_masks_are_drawn_centred_and_in_one_scale():
    mask, image = orbit(0, 1)[None], torch.rand(1, 1, 16, 16)
    filtered = dict(x_masked=mask, attacked_masked=mask, x_complement=mask)
    columns = pictures.plot_mask_columns(image, image, masks=mask, complements=1 - mask, **filtered)
    learned, complement = (columns.axes[i].images[0] for i in (2, 5))
    assert np.argwhere(learned.get_array() == 1).tolist() == [[8, 7], [8, 9]]  # beside the middle
    assert complement.get_clim() == learned.get_clim() == (0, 1)


@pytest.mark.parametrize(("many", "names"), [
    (random_set(2, 3), ["0", "1"]), (random_set(3).masks, ["0", "1", "2"]), (torch.rand(2, 6, 5), ["0", "1"]),
    (torch.rand(6, 5), ["0"]), ([torch.rand(6, 5), torch.rand(3, 6, 5)], ["0", "1"]), (np.ones((2, 6, 5)), ["0", "1"]),
    ({"a $": torch.rand(2, 6, 5)}, ["a $"]),
])
def test_masks_without_names_are_called_by_their_numbers(many, names):
    figure = pictures.plot_masks(many)
    assert [ax.get_xlabel() for ax in figure.axes[: len(names)]] == names
    assert not figure.axes[0].xaxis.label.get_parse_math()
    figure.draw_without_rendering()


def test_masks_of_another_basis_are_not_moved():
    masks = random_set(2, basis=Cosine((6, 5)))
    shown = pictures.plot_masks(masks).axes[1].images[0].get_array()
    torch.testing.assert_close(torch.as_tensor(shown), masks.masks[1, 0], rtol=0, atol=0)


def test_few_differences_have_a_scale_of_their_own():
    "Fewer than one entry of a hundred: the 99th percentile would be nothing."
    figure = pictures.plot_masks({"a": orbit(0, 1, (32, 32))[0], "b": orbit(0, 1, (32, 32), 0.5)[0]})
    assert titles(figure)[-1] == "(B-A)" and figure.axes[3].images[0].get_clim() == (-0.5, 0.5)


def rgb(plane):
    "A plane of three channels as it is to be seen: centred by hand."
    v, u = (torch.arange(n) - n // 2 for n in plane.shape[1:])
    return plane[:, v][:, :, u].movedim(0, -1)


def test_masks_of_three_channels_are_seen_in_colour_everywhere():
    masks, x = random_set(2, 3), torch.rand(2, 3, 6, 5)
    forms = dict(x_masked=x, attacked_masked=x, complements=masks.complement().masks, x_complement=x)
    figures = {
        "plot_masks": (pictures.plot_masks(masks), 0), "set": (plot_mask_set(masks, x), 1),
        "columns": (pictures.plot_mask_columns(x, x, masks=masks.masks, **forms), 2),
        "classes": (pictures.plot_class_masks({"a": (masks.masks[0], masks.masks)}), 1),
    }
    for name, (figure, panel) in figures.items():
        shown = torch.as_tensor(figure.axes[panel].images[0].get_array()).float()
        torch.testing.assert_close(shown, rgb(masks.masks[0]), rtol=0, atol=0, msg=name)
    urls = re.findall("base64,([^\"]+)", masks._repr_html_())
    png = plt.imread(io.BytesIO(base64.b64decode(urls[0])))[..., :3]
    torch.testing.assert_close(torch.as_tensor(png), rgb(masks.masks[0]), rtol=0, atol=1 / 255)  # a byte a colour


def test_an_image_has_one_scale_for_its_three_channels():
    ax = pictures.canvas(1, 1)[1][0, 0]
    image = 4 * torch.rand(3, 6, 5) - 1
    pictures.show_image(ax, image)
    low, high = image.min(), image.max()
    shown = torch.as_tensor(ax.images[0].get_array())
    torch.testing.assert_close(shown, ((image - low) / (high - low)).movedim(0, -1))


def test_names_are_escaped_in_html():
    masks = random_set(settings={"basis": {"name": "<script>alert(1)</script>"}})
    assert "<script" not in masks._repr_html_() and "&lt;script" in masks._repr_html_()


class Linear(nn.Module):
    "Three classes, and what happened to the network while it was asked."

    def __init__(self, channels=1, size=(6, 5)):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm2d(channels), nn.Linear(channels * size[0] * size[1], 3)
        nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(2))
        self.asked = []

    def forward(self, x):
        self.asked.append((self.training, torch.is_grad_enabled(), len(x)))
        return self.layer(self.norm(x).flatten(1))


def below(figure, column, columns):
    return [(ax.get_xlabel(), ax.xaxis.label.get_color()) for ax in figure.axes[column::columns]]


@pytest.mark.parametrize("channels", [1, 3])
def test_below_each_panel_stands_what_the_network_says_of_it(channels):
    network, x, masks = Linear(channels), torch.rand(4, channels, 6, 5), random_set(4, channels)
    masks = replace(masks, masks=masks.masks * (masks.masks > 0.5))
    names = ["first", "second", "third"]
    figure = plot_mask_set(masks, x, network.train(), names=names)
    assert titles(figure) == ["image", "mask", "mask leaves", "complement leaves"] and len(figure.axes) == 16
    assert network.asked == [(False, False, 4)] * 3 and network.training and network.layer.weight.requires_grad
    network.eval()
    kept, spectrum = masks.masks, torch.fft.fft2(x)
    forms = [x, torch.fft.ifft2(kept * spectrum).real, torch.fft.ifft2((kept <= 1e-8) * spectrum).real]
    with torch.no_grad(): logits = [network(form) for form in forms]
    for column, out in zip((0, 2, 3), logits, strict=True):
        sure, classes = out.softmax(1).max(1)
        same = classes == logits[0].argmax(1)
        expected = [f"{names[c]}: {p:.2f}" for c, p in zip(classes, sure, strict=True)]
        assert below(figure, column, 4) == list(zip(expected, np.where(same, "black", "#b2182b"), strict=True))
    assert [text for text, _ in below(figure, 1, 4)] == [f"size {size:.2g}" for size in masks.sparsity]
    figure.draw_without_rendering()
    assert not plt.get_fignums()


def test_without_a_network_what_the_set_knows_is_shown():
    known = dict(predictions=torch.tensor([2, -1, 0]), prediction_kept=torch.tensor([1, 0, torch.nan]))
    masks = replace(random_set(3), **known)
    figure = plot_mask_set(masks, torch.rand(3, 1, 6, 5), names=list("abcd"))
    assert [text for text, _ in below(figure, 0, 4)] == ["c", "", "a"]
    assert below(figure, 2, 4)[:2] == [("kept", "black"), ("lost", "#b2182b")]
    assert [text for text, _ in below(plot_mask_set(masks, torch.rand(3, 1, 6, 5)), 0, 4)] == ["class 2", "", "class 0"]
    assert {text for text, _ in below(figure, 3, 4)} == {""}


@pytest.mark.parametrize(("kept", "words"), [(0.75, ", keeps 75 % of the answers"), (torch.nan, "")])
def test_a_mask_of_many_images_stands_once(kept, words):
    masks, x, network = random_set(1), torch.rand(5, 1, 6, 5), Linear()
    figure = plot_mask_set(replace(masks, prediction_kept=torch.tensor([kept])), x, network, most=3)
    asked = [n for *_, n in network.asked]
    assert len(figure.axes) == 1 + 3 * 3 and figure.get_supxlabel() == "and 2 more images" and asked == [3, 3, 3]
    mask, = (ax for ax in figure.axes if ax.get_title() == "mask")
    assert mask.get_xlabel() == f"size {masks.sparsity[0]:.2g}{words}"
    assert plot_mask_set(masks, x, most=4).get_supxlabel() == "and 1 more image"
    assert not plot_mask_set(masks, x).get_supxlabel()


@pytest.mark.parametrize("size", [(9,), (6, 5), (20, 4), (3, 6, 5)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_signals_images_and_volumes_of_any_channels_are_drawn(size, channels):
    masks, x = random_set(2, channels, size), torch.randn(2, channels, *size)
    figure = plot_mask_set(masks, x)
    assert len(figure.axes) == 8
    figure.draw_without_rendering()
    image, mask = figure.axes[:2]
    if len(size) == 1:
        lines = [torch.as_tensor(line.get_ydata()) for line in image.get_lines()]
        return torch.testing.assert_close(torch.stack(lines), x[0], rtol=0, atol=0)
    if len(size) == 2: shown, plane = x[0], masks.masks[0]
    else: shown, plane = x[0, :, 1], masks.masks[0, :, 0]  # in the middle of three; zero frequency along the first axis
    shown = shown if channels == 3 else shown.mean(0, keepdim=True)
    plane = rgb(plane) if channels == 3 else rgb(plane).mean(2)
    low, high = shown.min(), shown.max()
    panel = torch.as_tensor(image.images[0].get_array()).reshape(*size[-2:], -1).movedim(2, 0)
    torch.testing.assert_close(panel, (shown - low) / (high - low))
    torch.testing.assert_close(torch.as_tensor(mask.images[0].get_array()).float(), plane)


def test_images_in_0_1_are_shown_as_they_are_and_nothing_is_made_of_nothing():
    "What an empty mask leaves is mid-grey, rounding errors too."
    masks, x = random_set(2), 0.2 + 0.5 * torch.rand(2, 1, 6, 5)
    figure = plot_mask_set(replace(masks, masks=0 * masks.masks), x)
    torch.testing.assert_close(torch.as_tensor(figure.axes[0].images[0].get_array()), x[0, 0])
    assert (figure.axes[2].images[0].get_array() == 0.5).all()
    tiny = plot_mask_set(replace(masks, masks=1e-6 * masks.masks), x)
    assert np.ptp(tiny.axes[2].images[0].get_array()) < 1e-2


def test_a_part_without_a_complement_has_no_column_for_it():
    basis = RealFourier((6, 5))
    masks = random_set(2, basis=basis, part=Phase(basis))
    figure = plot_mask_set(masks, torch.rand(2, 1, 6, 5), Linear())
    assert titles(figure) == ["image", "mask", "mask leaves"]


def test_other_outputs_than_logits():
    masks, x = random_set(2), torch.rand(2, 1, 6, 5)
    for shape in ((2,), (2, 1)):
        figure = plot_mask_set(masks, x, lambda x, shape=shape: {"score": x.mean((1, 2, 3)).view(shape)},
                               output_fn=lambda out: out["score"])
        assert [text for text, _ in below(figure, 0, 4)] == [f"{image.mean():.3g}" for image in x]
    half = Linear().to(torch.bfloat16).eval()
    figure = plot_mask_set(masks, x.double().requires_grad_(), half, names=["a"] * 3)
    assert {text[:3] for text, _ in below(figure, 0, 4)} == {"a: "}


def test_names_are_shown_as_they_are_written_and_cut():
    names = ["$x_1^2$ and $y$", "<b>a</b>\nb", "W" * 1000]
    figure = plot_mask_set(replace(random_set(3), predictions=torch.arange(3)), torch.rand(3, 1, 6, 5), names=names)
    *short, long = (text for text, _ in below(figure, 0, 4))
    assert short == ["$x_1^2$ and $y$", "<b>a</b> b"] and re.fullmatch("W{5,15}…", long)
    assert not any(ax.xaxis.label.get_parse_math() for ax in figure.axes)
    figure = plot_mask_set(random_set(3), torch.rand(3, 1, 6, 5), Linear(), names=["W" * 1000] * 3)
    figure.draw_without_rendering()
    boxes = [ax.xaxis.label.get_window_extent() for ax in figure.axes[:4]]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def test_nothing_that_is_given_is_changed():
    network, x, masks = Linear(), torch.rand(3, 1, 6, 5), random_set(3)
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    given = x.clone(), masks.masks.clone(), torch.get_rng_state()
    plot_mask_set(masks, x, network)
    for name, value in network.state_dict().items(): assert torch.equal(value, before[name]), name
    assert all(map(torch.equal, given, (x, masks.masks, torch.get_rng_state())))
    assert network.training and not network.norm.training
