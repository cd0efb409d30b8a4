"The layer against the paper's formula in numpy and its gradients; sets of masks in memory."
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_sets import ROTATED, random_set

from fourier_mask import filtering
from fourier_mask.basis import Cosine, Linear, RealFourier
from fourier_mask.filtering import basis_of, part_of
from fourier_mask.form import Rings
from fourier_mask.goal import Change, Keep
from fourier_mask.mask import FourierMask, complement
from fourier_mask.mask_set import PER_MASK, MaskSet
from fourier_mask.part import Amplitude, Filter, Phase, Rest, held_of, mean_amplitude
from fourier_mask.spectrum import mirror, symmetrize

sides = st.integers(1, 9)
sizes = st.tuples(sides, sides)
spaces = st.lists(sides, min_size=1, max_size=3).map(tuple)


def drawn(layer, low=0.0, high=1.0, seed=0):
    "A layer with random weights."
    with torch.no_grad(): layer.weight.uniform_(low, high, generator=torch.Generator().manual_seed(seed))
    return layer


def formula(planes, x):
    "Section 2.1 in numpy, over all axes but the first two."
    axes = tuple(range(2, x.ndim))
    return np.fft.ifftn(np.asarray(planes) * np.fft.fftn(np.asarray(x), axes=axes), axes=axes).real


@given(spaces, st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, 99))
def test_the_layer_is_the_papers_formula(space, channels, each_image, each_channel, seed):
    n = 3 if each_image else 1
    layer = drawn(FourierMask(space, n=n, channels=channels if each_channel else 1).double(), seed=seed)
    assert layer.weight.shape == (n, channels if each_channel else 1, len(layer.layout))
    x = torch.randn(3, channels, *space, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = formula(layer.full().detach(), x)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-12)  # double precision, values near 1


@given(sizes, st.integers(0, 99))
def test_planes_that_are_taken_over_act_as_they_do_in_the_formula(size, seed):
    generator = torch.Generator().manual_seed(seed)
    planes = torch.rand(2, 1, *size, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 1, *size, generator=generator, dtype=torch.float64)
    layer = FourierMask(size, n=2).double().set_(planes)  # not symmetric: the real part drops the rest in both
    np.testing.assert_allclose(layer(x).detach().numpy(), formula(planes, x), atol=1e-12)
    torch.testing.assert_close(layer.full().detach(), symmetrize(planes))


@given(sizes)
def test_a_mask_of_ones_returns_the_image(size):
    x = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FourierMask(size)(x), x)


@given(sizes)
@settings(max_examples=20)
def test_gradients(size):
    layer = drawn(FourierMask(size, n=2).double(), 0.1, 0.9)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 1, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().requires_grad_()
    call = lambda x, weight: torch.func.functional_call(layer, {"weight": weight}, x)
    assert torch.autograd.gradcheck(call, (x, weight))


def test_nothing_passes_between_masks_of_a_batch():
    layer = FourierMask((8, 8), n=3)
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    gradient, = torch.autograd.grad(layer(x)[1].square().sum(), layer.weight)
    assert gradient[1].abs().sum() > 0 and gradient[[0, 2]].abs().sum() == 0


@given(sizes, st.floats(1, 300))
def test_norms_are_those_of_the_full_plane(size, p):
    layer = drawn(FourierMask(size, channels=2).double())
    ones = np.linalg.norm(np.ones(2 * size[0] * size[1]), p)
    oracle = np.linalg.norm(layer.full().detach().numpy().ravel(), p) / ones
    assert layer.norm(p).item() == pytest.approx(oracle, rel=1e-6)  # counts are float32


@pytest.mark.parametrize("p", [1, 2, 20, 100, 1000])
def test_norms_stay_in_range_in_single_precision(p):
    layer = FourierMask((16, 16))
    with torch.no_grad(): layer.weight.fill_(0.3)
    gradient, = torch.autograd.grad(layer.norm(p).sum(), layer.weight)
    assert layer.norm(p).item() == pytest.approx(0.3, rel=1e-4) and gradient.isfinite().all() and gradient.sum() > 0


@pytest.mark.parametrize("p", [1, 1.5, 2, 100])
def test_the_norm_of_an_empty_mask_has_a_finite_gradient(p):
    layer = FourierMask((4, 4))
    with torch.no_grad(): layer.weight.zero_()
    gradient, = torch.autograd.grad(layer.norm(p).sum(), layer.weight)
    assert gradient.isfinite().all() and layer.norm(p).item() == 0


def test_complement_leaves_the_mask_alone_and_refuses_what_is_none():
    mask = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    before = mask.clone()
    assert torch.equal(complement(mask), (before == 0).float()) and torch.equal(mask, before)
    for bad in (torch.nan, torch.inf, 1.5, -0.1):
        for binary in (True, False):
            with pytest.raises(ValueError, match="mask must be finite and lie in"):
                complement(torch.tensor([0.5, bad]), binary=binary)


@given(spaces, st.integers(1, 3), st.integers(0, 9))
def test_a_set_filters_by_the_papers_formula(space, channels, seed):
    masks = random_set(2, channels, space, seed)
    x = torch.randn(2, channels, *space, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    np.testing.assert_allclose(masks.apply(x).numpy(), formula(masks.masks.double(), x), atol=1e-6)
    one = masks[0].apply(x)  # a single mask serves all images
    np.testing.assert_allclose(one.numpy(), formula(masks.masks[:1].double(), x), atol=1e-6)


@pytest.mark.parametrize("space", [(6,), (5, 6), (2, 3, 4)])
def test_sets_act_in_their_basis_with_their_part(space):
    x = torch.randn(2, 1, *space, generator=torch.Generator().manual_seed(0))
    fourier, cosine = RealFourier(space), Cosine(space)
    rotated = Linear(torch.linalg.qr(torch.randn(x[0].numel(), x[0].numel(), generator=ROTATED)).Q, space)
    parts = (Filter(), Amplitude(), Amplitude(mean_amplitude(fourier, x)), Phase(fourier, seed=4), Phase(fourier, x[1]))
    cases = [(fourier, each) for part in parts for each in (part, Rest(part), Rest(Rest(part)))]
    for basis, part in cases + [(cosine, Filter()), (rotated, Amplitude(mean_amplitude(rotated, x)))]:
        masks = random_set(2, 1, space, basis=basis, part=part)
        m = basis.orbit_values(masks.masks)[..., basis.orbits]
        expected = basis.inverse(part(basis(x), m))
        torch.testing.assert_close(masks.apply(x), expected)
        torch.testing.assert_close(masks.apply(x, basis=basis, part=part), expected)
        assert basis_of(masks).settings == basis.settings and part_of(masks, basis).settings == part.settings
    plain = random_set(2, 1, space).apply(x)
    for part in (Phase(fourier), Rest(Filter())):
        assert not torch.allclose(random_set(2, 1, space, basis=fourier, part=part).apply(x), plain, atol=1e-2)


def test_the_part_that_is_built_again_is_to_the_last_bit_what_it_was():
    fourier = RealFourier((6, 5))
    part = Phase(fourier, seed=4)
    masks = random_set(basis=fourier, part=Rest(part))
    assert sorted(masks.held) == ["part/reference"]
    assert torch.equal(part_of(masks, fourier).part.reference, part.reference)


def test_what_cannot_be_built_again_is_named_with_the_remedy():
    class Mine(Cosine): pass
    class Halved(Filter):
        def forward(self, X, m): return X * m / 2

    x, fourier = torch.rand(2, 1, 6, 5), RealFourier((6, 5))
    masks = random_set(basis=Mine((6, 5)), part=Halved())
    with pytest.raises(ValueError, match=r"basis Mine cannot be built.*masks.apply\(images, basis=…\)"): masks.apply(x)
    with pytest.raises(ValueError, match=r"part Halved cannot be built.*masks.apply\(images, part=…\)"):
        masks.apply(x, basis=Mine((6, 5)))
    there = masks.apply(x, basis=Mine((6, 5)), part=Halved())
    torch.testing.assert_close(there, random_set(basis=Cosine((6, 5))).apply(x) / 2)
    phase = random_set(basis=fourier, part=Phase(fourier))
    with pytest.raises(ValueError, match="held must hold part/reference of part Phase.*got nothing"):
        replace(phase, held={}).apply(x)
    other = held_of(fourier, Phase(fourier, seed=1))
    with pytest.raises(ValueError, match="by the fingerprint"): replace(phase, held=other).apply(x)
    with pytest.raises(ValueError, match="basis must be of the masks' size"): phase.apply(x, basis=RealFourier((5, 6)))
    with pytest.raises(ValueError, match="shape of the basis's coefficients"): phase.apply(x, basis=Cosine((6, 5)))


def test_a_basis_and_a_part_that_are_passed_stay_where_they_are():
    basis, part = RealFourier((6, 5)), Phase(RealFourier((6, 5)))
    before = {name: value.data_ptr() for module in (basis, part) for name, value in module.named_buffers()}
    random_set().apply(torch.rand(2, 1, 6, 5), basis=basis, part=part)
    assert before == {name: value.data_ptr() for module in (basis, part) for name, value in module.named_buffers()}


def test_zero_frequency_is_in_the_middle_for_fourier_over_all_axes_and_stays_elsewhere():
    for space in ((6,), (5, 6), (2, 3, 4)):
        masks = random_set(2, 1, space)
        middle = tuple(n // 2 for n in space)
        assert torch.equal(masks.centered()[(0, 0, *middle)], masks.masks[(0, 0, *[0] * len(space))])
        np.testing.assert_array_equal(masks.centered(), np.fft.fftshift(masks.masks, axes=range(2, 2 + len(space))))
        cosine = random_set(2, 1, space, basis=Cosine(space))
        assert torch.equal(cosine.centered(), cosine.masks)


def test_point_symmetry_is_for_fourier_only():
    for space in ((6,), (5, 6), (2, 3, 4)):
        planes = torch.rand(2, 1, *space, generator=torch.Generator().manual_seed(1))
        cosine = replace(random_set(2, 1, space, basis=Cosine(space)), masks=planes)
        assert torch.equal(cosine.masks, planes)
        with pytest.raises(ValueError, match="point-symmetric"): replace(random_set(2, 1, space), masks=planes)


@pytest.mark.usefixtures("annotations_off")
@pytest.mark.parametrize("name", PER_MASK)
def test_fields_of_the_wrong_kind_are_named(name):
    masks = random_set()
    value, wanted = getattr(masks, name), str(PER_MASK[name])
    with pytest.raises(TypeError, match=f"{name} must be a tensor of {wanted}.*got list"):
        replace(masks, **{name: value.tolist()})
    other = value.float() if not value.is_floating_point() else value.long()
    with pytest.raises(TypeError, match=f"{name} must be a tensor of {wanted}; got {other.dtype}"):
        replace(masks, **{name: other})
    with pytest.raises(ValueError, match=rf"{name} must have one entry for each of the 2 masks.*\(3,\)"):
        replace(masks, **{name: torch.zeros(3, dtype=PER_MASK[name])})
    with pytest.raises(ValueError, match=rf"{name} must have one entry.*\(2, 1\)"):
        replace(masks, **{name: value[:, None]})


def test_numbers_of_the_same_kind_are_kept_in_one_width():
    masks = replace(random_set(), labels=torch.tensor([0, 1], dtype=torch.int16), objective=torch.ones(2).double())
    assert masks.labels.dtype == torch.int64 and masks.objective.dtype == torch.float32


@pytest.mark.usefixtures("annotations_off")
@pytest.mark.parametrize(("change", "message"), [
    (dict(masks=[[1.0]]), "masks must be a tensor"),
    (dict(masks=torch.ones(2, 1, 6, 5).long()), "masks must be a tensor"),
    (dict(masks=torch.ones(6, 5)), "must have shape"), (dict(masks=torch.ones(2, 1, 6, 5) * 1.1), "lie in"),
    (dict(masks=torch.full((2, 1, 6, 5), torch.nan)), "lie in"), (dict(settings={"f": print}), "JSON can hold"),
    (dict(settings={"tolerance": float("inf")}), "JSON can hold"),
    (dict(settings={"basis": "cosine"}), "basis.settings"),
    (dict(settings={"basis": {"name": "RealFourier", "space": [5, 6]}}), "of the size that settings"),
    (dict(trace={"sparsity": [1.0]}), "must be a tensor"), (dict(trace={"a/b": torch.ones(2)}), "names that match"),
    (dict(trace={"a": torch.ones(2), "b": torch.ones(3)}), "one shape"),
    (dict(trace={"a": torch.ones(3, 2)}), "a row for each of the 2 masks"),
    (dict(trace={"a": torch.tensor(1.0)}), "a row for each"),
    (dict(held={"matrix": torch.eye(2)}), "names that match"), (dict(held={"basis/matrix": 1}), "must be a tensor"),
])
def test_what_is_not_a_set_is_refused(change, message):
    with pytest.raises((TypeError, ValueError), match=message): replace(random_set(), **change)


def test_settings_are_plain_values_of_their_own():
    given = {"weight": np.float32(0.25), "sizes": (np.int64(1), 2), "one": torch.tensor(3)}
    given["nested"] = {"b": np.bool_(True)}
    masks = random_set(settings=given)
    assert masks.settings == {"weight": 0.25, "sizes": [1, 2], "one": 3, "nested": {"b": True}}
    assert json.loads(json.dumps(masks.settings)) == masks.settings
    given["nested"]["b"] = None
    assert masks.settings["nested"] == {"b": True}


def test_the_complement_knows_nothing_of_the_network_and_is_a_filters():
    masks = random_set(settings={"p": 2})
    for binary in (True, False):
        other = masks.complement(binary=binary)
        planes = (masks.masks <= 1e-8).double() if binary else 1 - masks.masks.double()
        oracle = np.linalg.norm(planes.flatten(1), axis=1) / np.sqrt(planes[0].numel())
        np.testing.assert_allclose(other.sparsity, oracle, rtol=1e-6)
        for name in ("objective", "invariance", "prediction_kept", "reached"): assert getattr(other, name).isnan().all()
        assert other.settings["complement"] == ("binary" if binary else "soft") and not other.trace
    high = replace(masks, masks=torch.full_like(masks.masks, 0.7), settings={"p": 1000}).complement(binary=False)
    assert high.sparsity.tolist() == pytest.approx([0.3, 0.3], rel=1e-5)  # 0.3 ** 1000 is no float
    fourier = RealFourier((6, 5))
    for part in (Amplitude(), Phase(fourier), Rest(Filter())):
        with pytest.raises(ValueError, match=f"Filter; these have {type(part).__name__}.*Rest"):
            random_set(basis=fourier, part=part).complement()


def test_sets_that_were_learned_alike_are_joined():
    first = random_set(2, seed=1, settings={"weight": 0.2, "batch_size": 4, "seed": 0})
    second = random_set(3, seed=2, settings={"weight": 0.2, "batch_size": 8, "seed": 0})
    both = MaskSet.join([first, second])
    for name in ("masks", *PER_MASK):
        wanted = torch.cat([getattr(first, name), getattr(second, name)])
        torch.testing.assert_close(getattr(both, name), wanted, rtol=0, atol=0, equal_nan=True)
    assert both.settings == {"weight": 0.2, "seed": 0}  # what differs is not claimed of all
    assert MaskSet.join([first, first]).settings == first.settings
    phased = random_set(basis=RealFourier((6, 5)), part=Phase(RealFourier((6, 5))))
    assert torch.equal(MaskSet.join([phased, phased[:1]]).held["part/reference"], phased.held["part/reference"])


@pytest.mark.parametrize(("change", "message"), [
    ({"weight": 0.3}, "weight is 0.2 in one and 0.3"), ({"form": Rings(4).settings}, "form is None in one"),
    ({"goal": Change(1).settings}, "goal.name is 'Keep' in one and 'Change'"),
    ({"complement": "binary"}, "complement is None in one and 'binary'"),
    ({"part": Phase(RealFourier((6, 5)), seed=1).settings}, "part.held.reference is"),
])
def test_sets_that_were_learned_otherwise_are_not_joined(change, message):
    usual = {"weight": 0.2, "goal": Keep().settings, "part": Phase(RealFourier((6, 5))).settings}
    first = random_set(settings=usual)
    with pytest.raises(ValueError, match=message) as told: MaskSet.join([first, random_set(settings=usual | change)])
    assert "Keep them apart" in str(told.value)


def test_sets_of_other_shapes_or_none_are_not_joined():
    with pytest.raises(ValueError, match=r"one shape; got \(1, 6, 5\) and \(1, 5, 6\)"):
        MaskSet.join([random_set(), random_set(size=(5, 6))])
    with pytest.raises(ValueError, match="at least one MaskSet"): MaskSet.join([])


def test_repr_tells_what_to_know_before_trusting_a_number():
    masks = replace(random_set(), converged=torch.ones(2, dtype=torch.bool))
    assert repr(masks).startswith("MaskSet(n=2, channels=1, size=(6, 5), sparsity=")
    for word in ("misclassified", "unsettled", "unreached", "basis", "part", "goal"): assert word not in repr(masks)
    assert not masks.misclassified.any()  # nothing is known of what the network says
    wrong = replace(masks, predictions=masks.labels + torch.tensor([0, 1]))
    assert wrong.misclassified.tolist() == [False, True] and "misclassified=1" in repr(wrong)
    assert "unsettled=2" in repr(replace(masks, converged=~masks.converged))
    reached = torch.tensor([0.5, torch.nan])
    missed = replace(masks, reached=reached, settings={"goal": Change().settings})
    assert missed.unreached.tolist() == [True, False]
    assert "goal=Change" in repr(missed) and "unreached=1" in repr(missed)
    kept = replace(masks, reached=reached, settings={"goal": Keep().settings})
    assert not kept.unreached.any() and "unreached" not in repr(kept)
    assert "basis=Cosine" in repr(random_set(basis=Cosine((6, 5))))


def test_what_is_not_given_is_unknown():
    masks = random_set()
    assert masks.reached.isnan().all() and (masks.predictions == -1).all() and (masks.index == -1).all()


def test_a_summary_has_a_row_a_mask():
    masks = replace(random_set(3), index=torch.tensor([7, 8, 9]))
    table = masks.summary()
    assert list(table.columns) == [*PER_MASK, "misclassified"] and len(table) == 3
    assert table["index"].tolist() == [7, 8, 9]
    assert str(table["converged"].dtype) == "bool" and table["steps"].tolist() == masks.steps.tolist()
    assert table["reached"].isna().all() and not table["misclassified"].any()
    told = replace(masks, predictions=masks.labels + torch.tensor([0, 1, 0])).summary()
    assert told["misclassified"].tolist() == [False, True, False]


def test_subsets_and_html():
    masks = random_set(5)
    for one in (1, -4, np.int64(1), torch.tensor(1), [1], torch.tensor([1]), np.array([1])):
        assert len(masks[one]) == 1 and masks[one].steps.item() == 1
    assert masks[:3].steps.tolist() == [0, 1, 2] and masks[np.array([4, 0])].steps.tolist() == [4, 0]
    assert len(masks[masks.converged]) == int(masks.converged.sum()) == len(masks[masks.converged.numpy()])
    for wrong in (5, -6):
        with pytest.raises(IndexError, match="out of range for 5 masks"): masks[wrong]
    page = masks._repr_html_()
    assert page.count("<img") == 5 and "data:image/png;base64," in page
    assert "and 3 more" in random_set(15)._repr_html_()
    for space in ((7,), (2, 3, 4)): assert random_set(2, 1, space)._repr_html_().count("<img") == 2


@pytest.mark.parametrize(("space", "channels"), [((6, 5), 1), ((6, 5), 3), ((7,), 2), ((2, 3, 4), 1)])
def test_images_go_with_their_masks_and_are_shown_but_not_kept(tmp_path, space, channels):
    images = torch.randn(4, channels, *space)
    masks = replace(random_set(4, 1, space), images=images)
    page = masks._repr_html_()
    assert page.count("<img") == 8 and "what it leaves" in page
    assert torch.equal(masks[[2, 0]].images, images[[2, 0]]) and torch.equal(masks[1].images, images[1:2])
    assert torch.equal(MaskSet.join([masks, masks[:1]]).images, images[[0, 1, 2, 3, 0]])
    assert MaskSet.join([masks, random_set(4, 1, space)]).images is None
    assert MaskSet.load(masks.save(tmp_path / "masks.zarr")).images is None
    assert replace(masks, images=None)._repr_html_().count("<img") == 4


def test_images_of_other_masks_are_refused(annotations_off):
    masks, images = random_set(4), torch.rand(4, 1, 6, 5)
    for wrong in (images[:3], images[..., :-1], images[0], images.numpy(), images.long()):
        with pytest.raises(ValueError, match=r"images must be a tensor of shape \(4, c, 6, 5\)"):
            replace(masks, images=wrong)


def test_what_is_shown_below_a_mask_is_what_it_leaves():
    images = torch.rand(1, 1, 6, 5)
    masks = replace(random_set(1), images=images)
    left = filtering.left_pictures(masks)
    low, high = images.aminmax()
    assert left == [filtering.png(((masks.apply(images)[0] - low) / (high - low)).clamp(0, 1), "gray")]
    ones = replace(masks, masks=torch.ones(1, 1, 6, 5))
    assert filtering.left_pictures(ones) == [filtering.png((images[0] - low) / (high - low), "gray")]


def test_an_empty_set_is_a_set():
    none = random_set(5)[[]]
    assert len(none) == 0 and "n=0" in repr(none) and "<img" not in none._repr_html_() and len(none.summary()) == 0
    assert len(none.complement()) == 0 and len(MaskSet.join([none, random_set(5)])) == 5
    assert none.to_xarray().sizes["image"] == 0


def test_mirror_over_any_axes_is_what_a_set_is_checked_by():
    masks = random_set(1, 1, (2, 3, 4)).masks
    spectrum = np.fft.ifftn(masks, axes=(2, 3, 4))
    assert np.abs(spectrum.imag).max() < 1e-6  # a point-symmetric plane is the transform of a real image
    assert torch.equal(mirror(mirror(masks, (-3, -2, -1)), (-3, -2, -1)), masks)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_images_of_half_precision_are_filtered_in_single(half):
    mask, x = FourierMask((6, 5)), torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0)).to(half)
    with torch.no_grad(): mask.weight.uniform_(generator=torch.Generator().manual_seed(1))
    assert torch.equal(mask(x), mask(x.float()).to(half)) and mask(x).dtype == half


@pytest.mark.parametrize("p", [0.5, 0, -1, math.nan, math.inf])
def test_what_is_no_norm_is_refused(p):
    with pytest.raises(ValueError, match="p must be finite and at least 1"): FourierMask((4, 4)).norm(p)
