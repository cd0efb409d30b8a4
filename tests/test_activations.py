"Centroids of activations: against numpy and by hand, layers in the order of the pass, hooks that are always gone."
import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from small import in_unit, small_images, small_network
from torch import nn
from torch.testing import assert_close

from fourier_mask.activations import layer_centroids, plot_layer_centroids, spectral_centroid
from fourier_mask.models import Normalized, resnet18, vgg11

SIZES = [(5, 4), (4, 6), (3, 7), (1, 6), (6, 1), (8, 8)]
ROUND = dict(rtol=2e-5, atol=0)  # sums of some dozen float32 powers


def some_images(size=(6, 8), n=5, channels=1, seed=0, dtype=torch.float32):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def centroid_by_hand(planes, size=None, zero=False):
    "By loops over frequencies, of one image (c, h, w)."
    (h, w), above, below = planes.shape[1:], 0.0, 0.0
    size = (h, w) if size is None else size
    power = (np.abs(np.fft.fft2(planes.double().numpy())) ** 2).sum(0)
    for v in range(h):
        for u in range(w):
            if (v, u) == (0, 0) and not zero: continue
            radius = math.hypot(min(v, h - v) / size[0], min(u, w - u) / size[1])
            above, below = above + radius * power[v, u], below + power[v, u]
    return above / below


def hooks_of(model): return sum(len(module._forward_hooks) for module in model.modules())


# the centroid

@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_centroid_is_that_of_plain_loops(size, channels, zero, dtype):
    x, whole = some_images(size, 3, channels, dtype=dtype), (16, 12)
    own, there = spectral_centroid(x, whole, zero)
    assert own.dtype == dtype
    assert_close(own.double(), torch.tensor([centroid_by_hand(each, None, zero) for each in x]).double(), **ROUND)
    assert_close(there.double(), torch.tensor([centroid_by_hand(each, whole, zero) for each in x]).double(), **ROUND)
    assert torch.equal(*spectral_centroid(x, size)) and torch.equal(*spectral_centroid(x))


@pytest.mark.parametrize("size", SIZES[:3])
def test_without_zero_frequency_neither_brightness_nor_contrast_matters(size):
    x = some_images(size, dtype=torch.float64)
    assert_close(spectral_centroid(0.2 * x - 7), spectral_centroid(x))
    assert (spectral_centroid(x + 1, zero=True) < spectral_centroid(x, zero=True)).all()


def test_what_is_plain_has_no_centroid_and_what_is_faint_has_one():
    x = torch.cat([torch.full((1, 2, 4, 6), 0.3), torch.zeros(1, 2, 4, 6), some_images((4, 6), 1, 2)])
    assert spectral_centroid(x)[0].isnan().tolist() == [True, True, False]
    assert spectral_centroid(x, zero=True)[0].isnan().tolist() == [False, True, False]
    assert spectral_centroid(x, zero=True)[0, 0] == 0
    rounded = torch.full((1, 1, 4, 6), 0.3)
    rounded[0, 0, 1, 2] = torch.nextafter(torch.tensor(0.3), torch.tensor(1.0))  # the last digit of float32
    assert spectral_centroid(rounded).isnan().all()
    faint = 0.5 + 1e-4 * some_images((4, 6))  # a hundred times the rounding of 0.5
    assert_close(spectral_centroid(faint), spectral_centroid(some_images((4, 6))), rtol=0.01, atol=0)


# layers whose shift is known

def shifts(layer, images, **given):
    "The row of a single layer behind a Normalized."
    return layer_centroids(Normalized(nn.Sequential(layer), 0.5, 0.5), images, **given).iloc[-1]


def cosine(k, size, axis=1):
    line = torch.cos(2 * torch.pi * k * torch.arange(size[axis]) / size[axis])
    return (line[:, None].expand(size) if axis == 0 else line.expand(size))[None, None]


@pytest.mark.parametrize("size", SIZES[:3])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_identity_shifts_nothing(size, channels):
    row = shifts(nn.Identity(), some_images(size, channels=channels))
    assert_close([row.relative, row.relative_input], [1.0, 1.0], **ROUND)
    assert (row.kind, row.channels, row.h, row.w, row.n) == ("Identity", channels, *size, 5)
    assert row.relative_spread < 1e-5


@pytest.mark.parametrize(("size", "k", "axis"), [((5, 16), 1, 1), ((21, 3), 2, 0), ((4, 9), 2, 1)])
@pytest.mark.parametrize("function", [nn.ReLU(), nn.Tanh(), nn.Softplus(), nn.Hardtanh(-0.3, 0.3)])
def test_nonlinearities_of_a_wave_are_those_of_numpys_transform(size, k, axis, function):
    "Along the one axis on which anything changes."
    x = 0.5 + 0.45 * cosine(k, size, axis)
    after = function(0.9 * cosine(k, size, axis))[0, 0].movedim(axis, 0)[:, 0]
    n, power = size[axis], np.abs(np.fft.fft(after.double().numpy())) ** 2
    cycles = np.abs(np.fft.fftfreq(n))
    row = shifts(function, x)
    assert_close(row.relative, (cycles * power)[1:].sum() / power[1:].sum() / (k / n), rtol=1e-4, atol=0)
    assert row.relative > 1
    kept = shifts(function, x, zero=True)  # of the image too, whose mean is a half
    own = k / n * (0.45**2 / 2) / (0.45**2 / 2 + 0.25)
    assert_close(kept.relative, (cycles * power).sum() / power.sum() / own, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("size", "axis"), [((3, 16), 1), ((16, 5), 0)])
def test_pooling_counts_in_pixels_of_the_layer_and_of_the_image(size, axis):
    pool = nn.AvgPool2d((1, 2) if axis == 1 else (2, 1))
    x = 0.5 + 0.2 * (cosine(1, size, axis) + cosine(3, size, axis))
    first, second = (math.cos(math.pi * k / 16) ** 2 for k in (1, 3))
    by_hand = (first + 3 * second) / (first + second) / 2
    row = shifts(pool, x)
    assert_close([row.relative_input, row.relative], [by_hand, 2 * by_hand], rtol=1e-4, atol=0)
    assert_close(row.centroid_input_cyc, 2 / 16 * by_hand, rtol=1e-4, atol=0)
    assert (row.h, row.w) == tuple(side // (2 if place == axis else 1) for place, side in enumerate(size))


@pytest.mark.parametrize("size", [(6, 9), (7, 7), (8, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_circular_convolution_is_its_transfer_function(size, channels):
    "Laplace's lifts the centroid, a mean over nine pixels lowers it."
    x = some_images(size, 4, channels)
    kernels = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]), torch.ones(3, 3) / 9
    for kernel, higher in zip(kernels, (True, False), strict=True):
        layer = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="circular", bias=False, groups=channels)
        layer.weight.data = kernel.expand(channels, 1, 3, 3).clone()
        v, u = np.meshgrid(2 * np.pi * np.fft.fftfreq(size[0]), 2 * np.pi * np.fft.fftfreq(size[1]), indexing="ij")
        laplace, mean = 4 - 2 * np.cos(v) - 2 * np.cos(u), (1 + 2 * np.cos(v)) * (1 + 2 * np.cos(u)) / 9
        power = (np.abs(np.fft.fft2(x.double().numpy()) * (laplace if higher else mean)) ** 2).sum(1)
        power[:, 0, 0] = 0
        expected = (power * np.hypot(v, u) / (2 * np.pi)).sum((1, 2)) / power.sum((1, 2))
        ratio = expected / np.array([centroid_by_hand(each) for each in x])
        row = shifts(layer, x)
        assert_close(row.centroid_cyc, expected.mean(), **ROUND)
        by_hand = [ratio.mean(), 1.96 * ratio.std(ddof=1) / 2]
        assert_close([row.relative, row.relative_spread], by_hand, rtol=1e-4, atol=0)
        assert (row.relative > 1) == higher


def test_a_bias_and_the_centring_change_nothing_unless_zero_frequency_counts():
    x = some_images()
    layer = nn.Conv2d(1, 2, 3)
    plain = shifts(layer, x)
    layer.bias.data += 5
    assert_close(shifts(layer, x).relative, plain.relative, rtol=1e-4, atol=0)
    assert shifts(layer, x, zero=True).relative < plain.relative / 2


# which layers

class Twice(nn.Module):
    "A branch and a sum; one activation that is called twice; layers without planes; one that is never called."

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 3)  # registered first, called last
        self.conv, self.act = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, stride=2))
        self.idle, self.pool, self.pair = nn.Conv2d(1, 1, 1), nn.AdaptiveAvgPool2d(1), Pair()

    def forward(self, x):
        y = self.act(self.block(self.act(self.conv(x))))
        return self.last(self.pool(self.pair(y)[0]).flatten(1))


class Pair(nn.Module):
    def forward(self, x): return x, x


class Windows(nn.Module):
    "Two planes of half the height in place of one, as windows of an attention are."

    def forward(self, x): return x.unflatten(2, (2, -1)).movedim(2, 1).flatten(0, 1)


def test_what_returns_other_than_a_plane_for_each_image_is_left_out():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), Windows())
    assert layer_centroids(model, some_images()).index.tolist() == ["images", "0"]
    with pytest.raises(ValueError, match=r"layers must return .*, one for each image; 1 returns \(10, 2, 3, 8\)"):
        layer_centroids(model, some_images(), ["1"])


def test_rows_are_layers_in_the_order_of_the_pass():
    torch.manual_seed(0)
    table = layer_centroids(Twice(), some_images())
    assert table.index.tolist() == ["images", "conv", "act", "block.0", "act (2)"]
    assert table.kind.tolist() == ["images", "Conv2d", "ReLU", "Conv2d", "ReLU"]
    assert table[["channels", "h", "w"]].to_numpy().tolist() == [[1, 6, 8], [4, 6, 8], [4, 6, 8], [4, 3, 4], [4, 3, 4]]
    assert table.relative["images"] == 1 and (table.n == 5).all()
    named = layer_centroids(Twice(), some_images(), ["block", "conv"])
    assert named.index.tolist() == ["images", "conv", "block"] and named.kind["block"] == "Sequential"


@pytest.mark.parametrize("build", [vgg11, resnet18])
@pytest.mark.parametrize("channels", [1, 3])
def test_whole_networks_have_rows_for_their_planes(build, channels):
    torch.manual_seed(0)
    model = Normalized(build(3, channels, 0.125, (32, 32)), 0.5, 0.25)
    table = layer_centroids(model, some_images((32, 32), 4, channels), batch_size=3)
    assert len(table) > 10 and (table.kind == "Conv2d").sum() > 6 and (table.h > 1).all()
    assert table[["relative", "relative_input", "relative_spread"]].notna().all(axis=None)
    np.testing.assert_allclose(table.relative * table.h / 32, table.relative_input, rtol=1e-5)
    inside = table.centroid_cyc <= math.sqrt(0.5)
    assert inside.all() and (table.centroid_cyc > 0).all()


def test_a_layer_by_hand_in_the_middle_of_a_network():
    model = Twice().double()
    x = some_images(dtype=torch.float64)
    row = layer_centroids(model, x).loc["block.0"]
    middle = model.block(model.act(model.conv(x))).detach()
    own, there = (torch.tensor([centroid_by_hand(each, size) for each in middle]) for size in (None, (6, 8)))
    images = torch.tensor([centroid_by_hand(each) for each in x])
    assert_close([row.centroid_cyc, row.centroid_input_cyc], [own.mean().item(), there.mean().item()])
    assert_close([row.relative, row.relative_input], [(own / images).mean().item(), (there / images).mean().item()])


def test_images_and_layers_without_contrast_are_left_out_and_counted():
    x = some_images()
    x[1] = 0.5
    table = layer_centroids(nn.Sequential(nn.Identity(), nn.Threshold(0.999, 0.0), nn.Threshold(2.0, 0.3)), x)
    assert table.n.tolist()[:2] == [4, 4] and table.n.iloc[-1] == 0
    assert table.iloc[-1][["centroid_cyc", "relative", "relative_spread"]].isna().all()
    rest = layer_centroids(nn.Sequential(nn.Identity()), x[[0, 2, 3, 4]])
    assert_close(table.centroid_cyc["0"], rest.centroid_cyc["0"])
    one = layer_centroids(nn.Sequential(nn.Identity()), x[:1])
    assert one.n.tolist() == [1, 1] and one.relative_spread.isna().all()


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_batches_make_no_difference(batch_size):
    torch.manual_seed(0)
    model = Twice()
    given = layer_centroids(model, some_images(), batch_size=batch_size)
    pd.testing.assert_frame_equal(given, layer_centroids(model, some_images()), rtol=1e-5)  # order of float32 sums


@pytest.mark.parametrize("kind", ["array", "pairs", "half", "compiled", "parallel"])
def test_images_and_networks_are_taken_as_they_come(kind):
    torch.manual_seed(0)
    model, x = Twice(), some_images()
    wanted = layer_centroids(model, x)
    given = {"array": x.numpy(), "pairs": [(each, 0) for each in x], "half": x.half()}.get(kind, x)
    if kind == "compiled": model = torch.compile(model)
    if kind == "parallel": model = nn.DataParallel(model)
    pd.testing.assert_frame_equal(layer_centroids(model, given), wanted, rtol=2e-2 if kind == "half" else 1e-6)


# side effects and errors

class Fails(nn.Module):
    def forward(self, x): raise RuntimeError("no")


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_are_gone_and_nothing_else_is_touched(fails):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.BatchNorm2d(2), Fails() if fails else nn.ReLU())
    model[2].eval()
    kept = model[0].register_forward_hook(lambda *_: None)
    modes = [module.training for module in model.modules()]
    buffers = [buffer.clone() for buffer in model.buffers()]
    torch.manual_seed(3)
    random, x = torch.get_rng_state(), some_images().requires_grad_()
    if fails:
        with pytest.raises(ValueError, match=r"model must answer .* \(5, 1, 6, 8\); it fails \(RuntimeError: no"):
            layer_centroids(model, x)
    else: pd.testing.assert_frame_equal(layer_centroids(model, x), layer_centroids(model, x))
    assert hooks_of(model) == 1 and [module.training for module in model.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in model.parameters()) and x.grad is None
    assert all(torch.equal(*pair) for pair in zip(model.buffers(), buffers, strict=True))
    assert torch.equal(torch.get_rng_state(), random)
    kept.remove()


def test_what_is_refused(annotations_off):
    model, x = Twice(), some_images()
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    broken = nn.Sequential(nn.Identity(), nn.Threshold(2.0, math.nan))
    for call, said in [
        (lambda: layer_centroids(lambda x: model(x), x), "model must be a network whose layers can be hooked"),
        (lambda: layer_centroids(None, x), "model must be a network"),
        (lambda: layer_centroids(model.state_dict(), x), "model must be a network"),
        (lambda: layer_centroids(flat, x), r"model must have layers .*; 0 returns \(5, 48\); 1 returns \(5, 3\)"),
        (lambda: layer_centroids(nn.Linear(8, 3), x[:, 0, :1]), "images must"),
        (lambda: layer_centroids(broken, x), "model must compute finite numbers; layer 1 gives nan or infinity"),
        (lambda: layer_centroids(model, x, ["cnov"]), "layers must be names of layers; got 'cnov'. There are conv"),
        (lambda: layer_centroids(model, x, "conv"), "layers must be names of layers; got 'conv'"),
        (lambda: layer_centroids(model, x, [model.conv]), "layers must be names"),
        (lambda: layer_centroids(model, x, 3), "layers must be names"),
        (lambda: layer_centroids(model, x, ["last"]), r"layers must return .*; last returns \(5, 3\)"),
        (lambda: layer_centroids(model, x, ["pool"]), r"layers must return .*; pool returns \(5, 4, 1, 1\)"),
        (lambda: layer_centroids(model, x, ["pair"]), "layers must return .*; pair returns tuple"),
        (lambda: layer_centroids(model, x, ["idle"]), "layers must return .*; idle is not called"),
        (lambda: layer_centroids(model, x, []), "model must have layers"),
        (lambda: layer_centroids(model, 3 * x - 1), r"images must lie in \[0, 1\]"),
        (lambda: layer_centroids(model, 0 * x + 0.5), "images must have some contrast"),
        (lambda: layer_centroids(model, x * math.nan), "images must be finite"),
        (lambda: layer_centroids(model, x[:, 0]), "images must be"),
        (lambda: layer_centroids(model, x.expand(-1, 3, -1, -1)), "model must answer images"),
        (lambda: layer_centroids(model, x, zero=1), "zero must be"),
        (lambda: layer_centroids(model, x, batch_size=0), "batch_size must"),
        (lambda: spectral_centroid(x[0]), "planes must have the axes"),
        (lambda: spectral_centroid(x, (6, 0)), "size must be"),
    ]:
        with pytest.raises((TypeError, ValueError), match=said): call()
    assert hooks_of(model) == hooks_of(flat) == hooks_of(broken) == 0


def test_a_network_in_double_precision_behind_its_centring_takes_single_images():
    model = Normalized(small_network(), 0.5, 0.25).double()
    x = in_unit(small_images()[0])
    table = layer_centroids(model, x.float())
    assert table.index.tolist() == ["images", "model.0", "model.1"]
    assert_close(table.relative["model.1"], layer_centroids(model, x).relative["model.1"], **ROUND)


# the picture

def test_shifts_are_drawn_over_the_layers(annotations_off):
    torch.manual_seed(0)
    table = layer_centroids(Twice(), some_images())
    figure = plot_layer_centroids({"$a_b$": table})
    figure.canvas.draw()
    assert isinstance(figure, Figure) and [ax.get_title() for ax in figure.axes] == [
        "cycles a pixel of the layer", "cycles a pixel of the image"]
    left = figure.axes[0]
    assert [label.get_text() for label in left.get_xticklabels()] == table.index.tolist()
    assert left.lines[0].get_ydata().tolist() == table.relative.tolist()
    assert left.get_legend().get_texts()[0].get_text() == "$a_b$"
    one = layer_centroids(Twice(), some_images(n=1))
    plot_layer_centroids({"a": table, "of one image": one[:3]}).canvas.draw()
    for wrong in ({}, None, table, {"a": None}, {"a": table[["n"]]}):
        with pytest.raises((TypeError, ValueError), match="tables"): plot_layer_centroids(wrong)
    deep = plot_layer_centroids({"a": pd.concat([table] * 60)})  # a picture on a page, whatever the network's depth
    assert deep.get_figwidth() < 12
    assert deep.axes[0].get_xlabel() == f"layer, from {table.index[0]} to {table.index[-1]}"
