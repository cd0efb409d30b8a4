"The layer against the paper's formula in numpy, its gradients, and mask sets on disk."
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourier_mask import FourierMask, MaskSet, complement
from fourier_mask.mask import FORMAT, PER_MASK, open_masks, read_shards, save_mask_set
from fourier_mask.spectrum import symmetrize

sides = st.integers(1, 9)
sizes = st.tuples(sides, sides)


def random_set(n=2, channels=1, size=(6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks = symmetrize(torch.rand(n, channels, *size, generator=generator))
    values = torch.rand(n, generator=generator)
    return MaskSet(masks, torch.arange(n), values, values, values, torch.arange(n), values > 0.5, values, {"weight": 0.2, "p": 1}, {"sparsity": values})


@given(sizes, st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, 99))
def test_the_layer_is_the_papers_formula(size, channels, each_image, each_channel, seed):
    generator = torch.Generator().manual_seed(seed)
    layer = FourierMask(size, n=3 if each_image else 1, channels=channels if each_channel else 1).double()
    with torch.no_grad(): layer.weight.uniform_(0, 1, generator=generator)
    x = torch.randn(3, channels, *size, generator=generator, dtype=torch.float64)
    formula = np.fft.ifft2(layer.full().detach().numpy() * np.fft.fft2(x.numpy())).real
    np.testing.assert_allclose(layer(x).detach().numpy(), formula, atol=1e-12)  # double precision, values near 1


@given(sizes)
def test_a_mask_of_ones_returns_the_image(size):
    x = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FourierMask(size)(x), x)


@given(sizes)
@settings(max_examples=20)
def test_gradients(size):
    layer = FourierMask(size, n=2).double()
    with torch.no_grad(): layer.weight.uniform_(0.1, 0.9, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, weight: torch.func.functional_call(layer, {"weight": weight}, x), (x, weight))


def test_nothing_passes_between_masks_of_a_batch():
    layer = FourierMask((8, 8), n=3)
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    gradient, = torch.autograd.grad(layer(x)[1].square().sum(), layer.weight)
    assert gradient[1].abs().sum() > 0 and gradient[[0, 2]].abs().sum() == 0


@given(sizes, st.floats(1, 300))
def test_norms_are_those_of_the_full_plane(size, p):
    layer = FourierMask(size, channels=2).double()
    with torch.no_grad(): layer.weight.uniform_(0, 1, generator=torch.Generator().manual_seed(0))
    oracle = np.linalg.norm(layer.full().detach().numpy().ravel(), p) / np.linalg.norm(np.ones(2 * size[0] * size[1]), p)
    assert layer.norm(p).item() == pytest.approx(oracle, rel=1e-9)


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


def test_complement_leaves_the_mask_alone():
    mask = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    before = mask.clone()
    assert torch.equal(complement(mask), (before == 0).float()) and torch.equal(mask, before)


@given(st.integers(1, 4), st.integers(1, 3), sizes)
@settings(max_examples=10)
def test_sets_come_back_from_disk_bit_for_bit(tmp_path_factory, n, channels, size):
    masks = random_set(n, channels, size)
    again = MaskSet.load(masks.save(tmp_path_factory.mktemp("sets") / "masks.zarr"))
    assert all(torch.equal(getattr(again, name), getattr(masks, name)) for name in ("masks", *PER_MASK))
    assert again.settings == masks.settings and torch.equal(again.trace["sparsity"], masks.trace["sparsity"])


def test_sets_are_not_replaced_unasked_nor_halfway(tmp_path, monkeypatch):
    path = random_set(seed=1).save(tmp_path / "masks.zarr")
    with pytest.raises(FileExistsError, match="overwrite=True"): random_set(seed=2).save(path)

    import xarray
    def fail(self, store, **kwargs): (store / "half").touch(); raise OSError("disk full")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(xarray.Dataset, "to_zarr", fail)
        random_set(seed=2).save(path, overwrite=True)
    assert torch.equal(MaskSet.load(path).masks, random_set(seed=1).masks) and [p.name for p in tmp_path.iterdir() if p.name.endswith((".part", ".old"))] == []
    assert torch.equal(MaskSet.load(random_set(seed=2).save(path, overwrite=True)).masks, random_set(seed=2).masks)


def test_foreign_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a folder"): MaskSet.load(tmp_path / "none")
    path = random_set().save(tmp_path / "masks.zarr")
    record = json.loads((path / "zarr.json").read_text())
    record["attributes"]["format"] = "another/1"
    (path / "zarr.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="MaskSet.save wrote"): MaskSet.load(path)
    shutil.rmtree(path / "label" / "c")  # zarr would read the missing piece as its fill value
    record["attributes"]["format"] = FORMAT
    (path / "zarr.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="cut short or altered"): MaskSet.load(path)


def test_shards_are_checked_one_by_one_and_a_folder_is_read_lazily(tmp_path):
    masks = random_set(10)
    path = save_mask_set(masks, tmp_path / "masks.zarr", overwrite=False, shard_size=4)
    again = MaskSet.load(path)
    lazy = again.to_xarray()
    assert not isinstance(lazy["mask"].variable._data, np.ndarray) and lazy.sizes["image"] == 10 and open_masks(path)["written"].all()
    assert set(lazy.variables) == set(masks.to_xarray().variables)
    assert np.array_equal(lazy["mask"][5].to_numpy(), masks.masks[5].numpy()) and np.array_equal(lazy["label"], masks.labels)
    assert isinstance(again[2:4].to_xarray()["mask"].variable._data, np.ndarray)  # a subset is no longer what the folder holds
    chunk = next((path / "mask" / "c" / "1").rglob("0/0/0"))
    chunk.write_bytes(chunk.read_bytes()[:-3])
    assert [state for _, state, _ in read_shards(open_masks(path))] == ["whole", "damaged", "whole"]
    with pytest.raises(ValueError, match="masks 4 … 7 do not fit"): MaskSet.load(path)
    shutil.rmtree(path)
    assert torch.equal(torch.from_numpy(again.to_xarray()["mask"].to_numpy()), masks.masks)  # the folder is gone, the set is not


def test_sets_are_joined_and_know_what_the_network_got_wrong():
    first, second = random_set(2, seed=1), random_set(3, seed=2)
    both = MaskSet.join([first, second])
    assert torch.equal(both.masks[2:], second.masks) and len(both) == 5 and both.settings == first.settings
    assert not both.misclassified.any()  # nothing is known of what the network says
    assert replace(first, predictions=first.labels + torch.tensor([0, 1])).misclassified.tolist() == [False, True]
    assert "misclassified=1" in repr(replace(first, predictions=first.labels + torch.tensor([0, 1]))) and "unsettled=2" in repr(replace(first, converged=torch.zeros(2, dtype=torch.bool)))


def test_subsets_and_html():
    masks = random_set(5)
    assert len(masks[1]) == 1 and len(masks[np.int64(1)]) == 1 and len(masks[:3]) == 3 and len(masks[masks.converged]) == int(masks.converged.sum())
    with pytest.raises(IndexError): masks[5]
    page = masks._repr_html_()
    assert page.count("<img") == 5 and "data:image/png;base64," in page
