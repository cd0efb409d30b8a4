"Sets of masks on disk: there and back, shard by shard, damaged in every way, and never in place of something else."
import errno
import gc
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_sets import ROTATED, change, random_set

from fourier_mask.basis import Cosine, Linear, RealFourier
from fourier_mask.goal import Change
from fourier_mask.mask_set import PER_MASK, MaskSet, same_answers
from fourier_mask.part import Amplitude, Phase, Rest
from fourier_mask.shards import (
    FORMAT,
    Damaged,
    create_mask_folder,
    open_masks,
    read_shard,
    read_shards,
    save_mask_set,
    write_shard,
)

spaces = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


def same(one, other):
    "Whether two sets are the same to the last bit, nan being nan."
    tensors = {name: (getattr(one, name), getattr(other, name)) for name in ("masks", *PER_MASK)}
    for kind in ("trace", "held"):
        here, there = getattr(one, kind), getattr(other, kind)
        assert here.keys() == there.keys(), kind
        tensors |= {f"{kind} {name}": (here[name], there[name]) for name in here}
    for name, (a, b) in tensors.items():
        assert a.dtype == b.dtype and a.shape == b.shape, name
        assert a.numpy().tobytes() == b.numpy().tobytes(), name
    assert one.settings == other.settings
    return True


def files(path): return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@given(st.integers(1, 4), st.integers(1, 3), spaces)
@settings(max_examples=15)
def test_sets_come_back_from_disk_bit_for_bit(tmp_path_factory, n, channels, space):
    masks = random_set(n, channels, space)
    assert same(MaskSet.load(masks.save(tmp_path_factory.mktemp("sets") / "masks.zarr")), masks)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_trace_of_each_mask_goes_where_its_mask_goes(tmp_path, n):
    "A vector, as folders had it before there was a row for each mask, stays one."
    rows = torch.linspace(1, 0.1, 12).view(3, 4)
    rows[1, 2:] = torch.nan
    masks = replace(random_set(3), trace={"sparsity": rows})[:n]
    again = MaskSet.load(masks.save(tmp_path / "masks.zarr"))
    assert same(again, masks) and again.trace["sparsity"].shape == (n, 4)
    dataset = again.to_xarray()
    assert dataset["trace_sparsity"].dims == ("epoch", "image") and dataset.identical(masks.to_xarray())
    for i in range(n):
        assert same(again[i], masks[i])
        torch.testing.assert_close(masks[i].trace["sparsity"], rows[[i]], rtol=0, atol=0, equal_nan=True)
    vector = MaskSet.load(random_set(3).save(tmp_path / "vector.zarr"))
    assert vector.to_xarray()["trace_sparsity"].dims == ("epoch",) and vector[1].trace["sparsity"].shape == (4,)


@pytest.mark.parametrize("kind", ["fourier", "rotated", "phase", "rest", "double", "cosine"])
def test_what_json_cannot_hold_comes_back_and_acts_as_before(tmp_path, kind):
    x, fourier = torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(0)), RealFourier((6, 5))
    rotated = Linear(torch.linalg.qr(torch.randn(30, 30, generator=ROTATED)).Q, (6, 5))
    basis, part = {
        "fourier": (fourier, Amplitude()), "rotated": (rotated, Amplitude(torch.rand(1, 30))),
        "phase": (fourier, Phase(fourier)), "rest": (fourier, Rest(Phase(fourier, x[0]))),
        "cosine": (Cosine((6, 5)), None),
        "double": (fourier, Phase(reference=fourier(x.double())[1].sgn())),
    }[kind]
    masks = random_set(basis=basis, part=part)
    again = MaskSet.load(masks.save(tmp_path / "masks.zarr"))
    assert same(again, masks)
    torch.testing.assert_close(again.apply(x), masks.apply(x))  # a product depends on how a matrix lies in memory
    assert bool(masks.held) == (kind != "cosine")


@pytest.mark.parametrize(("space", "axes"), [((6,), ("k",)), ((5, 6), ("v", "u")), ((2, 3, 4), ("w", "v", "u"))])
def test_axes_have_names_and_frequencies_where_the_basis_has_them(tmp_path, space, axes):
    class Mine(Cosine): pass

    lines = {
        None: [np.fft.fftfreq(n) for n in space], RealFourier: [np.fft.fftfreq(n) for n in space],
        Cosine: [np.arange(n) / (2 * n) for n in space], Mine: [np.arange(n) for n in space],
    }
    for number, (kind, wanted) in enumerate(lines.items()):
        masks = random_set(size=space, basis=kind and kind(space))
        dataset = MaskSet.load(masks.save(tmp_path / f"{number}.zarr")).to_xarray()
        assert dataset["mask"].dims == ("image", "channel", *axes) == masks.to_xarray()["mask"].dims
        for axis, line in zip(axes, wanted, strict=True):
            np.testing.assert_array_equal(dataset[axis], line)
            assert dataset[axis].dtype == line.dtype


def test_a_loaded_set_is_read_from_its_folder_and_a_derived_one_is_not(tmp_path):
    fourier = RealFourier((6, 5))
    masks = random_set(10, basis=fourier, part=Phase(fourier))
    path = save_mask_set(masks, tmp_path / "masks.zarr", shard_size=4)
    again = MaskSet.load(path)
    lazy = again.to_xarray()
    assert not isinstance(lazy["mask"].variable._data, np.ndarray) and lazy.identical(masks.to_xarray())
    assert again.source[0] == str(path) and masks.source is None
    assert np.array_equal(lazy["mask"][5].to_numpy(), masks.masks[5].numpy())
    derived = (again[2:4], replace(again, converged=~again.converged), MaskSet.join([again, again]))
    for each in derived:  # what they hold is not what the folder holds
        assert each.source is None and isinstance(each.to_xarray()["mask"].variable._data, np.ndarray)
    assert np.array_equal(derived[1].to_xarray()["converged"], ~masks.converged)
    random_set(10, seed=9).save(path, overwrite=True)
    assert again.to_xarray().identical(masks.to_xarray())  # the folder is another, the set is not
    shutil.rmtree(path)
    assert again.to_xarray().identical(masks.to_xarray())


def test_anyone_can_read_a_folder_with_xarray_alone(tmp_path):
    masks = random_set(3, settings={"weight": np.float32(0.25), "goal": Change().settings})
    with xr.open_zarr(masks.save(tmp_path / "masks.zarr"), consolidated=False) as dataset:
        assert np.array_equal(dataset["mask"], masks.masks)
        assert {"label", "prediction", "index", "u", "v"} <= set(dataset.coords)
        assert dataset.attrs["format"] == FORMAT == "fourier_mask.MaskSet/4"
        assert json.loads(dataset.attrs["settings"]) == masks.settings and "NaN" not in dataset.attrs["settings"]


def test_a_folder_is_written_a_shard_at_a_time(tmp_path):
    masks, path = random_set(5), tmp_path / "masks.zarr"
    numbers = {"weight": np.float32(0.25), "n": np.int64(3), "flag": np.bool_(True)}
    create_mask_folder(path, (5, 1, 6, 5), numbers, 2)
    assert json.loads(open_masks(path).attrs["settings"]) == {"weight": 0.25, "n": 3, "flag": True}
    write_shard(path, 2, masks[4:], b"x" * 32)
    dataset = open_masks(path)
    assert dataset["written"].to_numpy().tolist() == [False] * 4 + [True]
    assert dataset["origin"][2].to_numpy().tobytes() == b"x" * 32
    assert [(rows.start, rows.stop, state) for rows, state, _ in read_shards(dataset)] \
        == [(0, 2, "missing"), (2, 4, "missing"), (4, 5, "whole")]
    with pytest.raises(ValueError, match="not finished: masks 0 … 1 are missing"): MaskSet.load(path)
    for number, rows in ((0, slice(0, 2)), (1, slice(2, 4))): write_shard(path, number, masks[rows])
    again = MaskSet.load(path)
    assert torch.equal(again.masks, masks.masks) and torch.equal(again.steps, masks.steps)
    for number, wrong, message in (
        (0, masks, r"2 of shape \(1, 6, 5\); got 5"), (2, masks[:2], "1 of shape"), (3, masks[:1], "0 … 2; got 3"),
        (-1, masks[:1], "got -1"), (0, random_set(2, 1, (5, 6)), r"got 2 of \(1, 5, 6\)"),
    ):
        with pytest.raises(ValueError, match=message): write_shard(path, number, wrong)
    assert same(MaskSet.load(path), again)
    with pytest.raises(FileExistsError, match="already there"): create_mask_folder(path, (5, 1, 6, 5), {}, 2)
    with pytest.raises(ValueError, match="shard_size"): create_mask_folder(tmp_path / "b.zarr", (5, 1, 6, 5), {}, 0)


def test_a_shard_that_is_half_written_is_missing_and_can_be_written_again(tmp_path, monkeypatch):
    masks, plain = random_set(4), zarr.Array.__setitem__
    calm = save_mask_set(masks, tmp_path / "calm.zarr", shard_size=2)

    class Stop(Exception): pass

    for most in range(len(PER_MASK) + 3):
        path, done = tmp_path / f"{most}.zarr", []
        create_mask_folder(path, (4, 1, 6, 5), masks.settings, 2, masks.trace)
        write_shard(path, 0, masks[:2])

        def setitem(self, rows, values, most=most, done=done):
            if len(done) == most: raise Stop
            done.append(1)
            return plain(self, rows, values)

        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr(zarr.Array, "__setitem__", setitem)
            write_shard(path, 1, masks[2:])
        assert [state for _, state, _ in read_shards(open_masks(path))] == ["whole", "missing"]
        write_shard(path, 1, masks[2:])
        assert files(path) == files(calm)


def test_an_altered_shard_is_named_and_the_others_are_whole(tmp_path):
    masks = random_set(10)
    path = save_mask_set(masks, tmp_path / "masks.zarr", shard_size=4)
    chunk = path / "mask" / "c" / "1" / "0" / "0" / "0"
    whole = chunk.read_bytes()
    for damage in (whole[:-3], b"", bytes(len(whole)), None, whole[:-1] + bytes([whole[-1] ^ 1])):
        if damage is None: chunk.unlink()
        else: chunk.write_bytes(damage)
        assert [state for _, state, _ in read_shards(open_masks(path))] == ["whole", "damaged", "whole"]
        with pytest.raises(ValueError, match="masks 4 … 7 do not fit"): MaskSet.load(path)
        assert read_shard(open_masks(path), 1)[2] == {}
    chunk.write_bytes(whole)
    assert same(MaskSet.load(path), masks)


def folder_of_five(tmp_path):
    "Something of everything: trace, a complex tensor, a shard with an origin."
    fourier = RealFourier((6, 5))
    masks = random_set(5, basis=fourier, part=Phase(fourier))
    path = masks.save(tmp_path / "masks.zarr")
    write_shard(path, 0, masks, b"x" * 32)
    return path


def empty(path): path.write_bytes(b"")


DAMAGES = {
    "no record": lambda p: (p / "zarr.json").unlink(),
    "empty record": lambda p: empty(p / "zarr.json"),
    "half a record": lambda p: (p / "zarr.json").write_text((p / "zarr.json").read_text()[:-9]),
    "a record that is a list": lambda p: (p / "zarr.json").write_text("[1]"),
    "bytes for a record": lambda p: (p / "zarr.json").write_bytes(b"\xff\xfe\x00"),
    "no attributes": lambda p: change(p / "zarr.json", "attributes"),
    "no settings": lambda p: change(p / "zarr.json", "attributes", "settings"),
    "settings of no JSON": lambda p: change(p / "zarr.json", "attributes", "settings", value="{"),
    "settings that are a number": lambda p: change(p / "zarr.json", "attributes", "settings", value=3),
    "other settings": lambda p: change(p / "zarr.json", "attributes", "settings", value='{"weight": 0.3}'),
    "other coordinates": lambda p: change(p / "zarr.json", "attributes", "coordinates", value="label index"),
    "one attribute more": lambda p: change(p / "zarr.json", "attributes", "comment", value="mine"),
    "no such node": lambda p: change(p / "zarr.json", "node_type", value="array"),
    "another zarr": lambda p: change(p / "zarr.json", "zarr_format", value=7),
    "an array without record": lambda p: (p / "label" / "zarr.json").unlink(),
    "an array gone": lambda p: shutil.rmtree(p / "steps"),
    "masks gone": lambda p: shutil.rmtree(p / "mask"),
    "checksums gone": lambda p: shutil.rmtree(p / "checksum"),
    "an array's record empty": lambda p: empty(p / "label" / "zarr.json"),
    "many records empty": lambda p: [empty(each) for each in sorted(p.glob("*/zarr.json"))[2:]],
    "all records of no JSON": lambda p: [each.write_text("{") for each in p.glob("*/zarr.json")],
    "another type": lambda p: change(p / "mask" / "zarr.json", "data_type", value="int32"),
    "no such type": lambda p: change(p / "mask" / "zarr.json", "data_type", value="float7"),
    "a type that is a number": lambda p: change(p / "steps" / "zarr.json", "data_type", value=8),
    "another type of a number": lambda p: change(p / "steps" / "zarr.json", "data_type", value="float64"),
    "fewer masks": lambda p: change(p / "mask" / "zarr.json", "shape", value=[4, 1, 6, 5]),
    "masks without number": lambda p: change(p / "mask" / "zarr.json", "shape", value=[10**30, 1, 6, 5]),
    "negative masks": lambda p: change(p / "mask" / "zarr.json", "shape", value=[-5, 1, 6, 5]),
    "shapes of words": lambda p: change(p / "mask" / "zarr.json", "shape", value=["a"]),
    "pieces of nothing": lambda p: change(
        p / "mask" / "zarr.json", "chunk_grid", "configuration", "chunk_shape", value=[0, 1, 6, 5]),
    "other pieces": lambda p: change(
        p / "mask" / "zarr.json", "chunk_grid", "configuration", "chunk_shape", value=[3, 1, 6, 5]),
    "no pieces": lambda p: change(p / "mask" / "zarr.json", "chunk_grid"),
    "no codecs": lambda p: change(p / "mask" / "zarr.json", "codecs"),
    "no such codec": lambda p: change(p / "mask" / "zarr.json", "codecs", value=[{"name": "none such"}]),
    "no axes": lambda p: change(p / "mask" / "zarr.json", "dimension_names"),
    "other axes": lambda p: change(p / "mask" / "zarr.json", "dimension_names", value=["a", "b", "c", "d"]),
    "axes of a frequency": lambda p: change(p / "u" / "zarr.json", "shape", value=[7]),
    "a piece of a mask empty": lambda p: empty(p / "mask" / "c" / "0" / "0" / "0" / "0"),
    "a piece of a number empty": lambda p: empty(p / "sparsity" / "c" / "0"),
    "a piece of a mask gone": lambda p: (p / "mask" / "c" / "0" / "0" / "0" / "0").unlink(),
    "labels gone": lambda p: shutil.rmtree(p / "label" / "c"),  # zarr alone reads them as −1
    "checksums empty": lambda p: empty(p / "checksum" / "c" / "0" / "0"),
    "checksums unwritten": lambda p: shutil.rmtree(p / "checksum" / "c"),
    "origins empty": lambda p: empty(p / "origin" / "c" / "0" / "0"),
    "origins unwritten": lambda p: shutil.rmtree(p / "origin" / "c"),
    "the trace's piece empty": lambda p: empty(p / "trace_sparsity" / "c" / "0"),
    "the trace gone": lambda p: shutil.rmtree(p / "trace_sparsity"),
    "the trace's numbers gone": lambda p: shutil.rmtree(p / "trace_sparsity" / "c"),
    "frequencies empty": lambda p: empty(p / "u" / "c" / "0"),
    "frequencies gone": lambda p: shutil.rmtree(p / "u"),
    "frequencies' numbers gone": lambda p: shutil.rmtree(p / "v" / "c"),
    "what is held empty": lambda p: empty(next((p / "held_part_reference" / "c").rglob("0/0/0/0"))),
    "what is held gone": lambda p: shutil.rmtree(p / "held_part_reference"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_folder_one_error_names_it_and_the_remedy(tmp_path, damage, capfd, caplog):
    path = folder_of_five(tmp_path)
    DAMAGES[damage](path)
    with pytest.raises(ValueError) as told: MaskSet.load(path)
    said = str(told.value)
    assert str(path) in said and ("again" in said or "store_image_masks" in said) and "\n" not in said
    assert told.value.__cause__ is None and (told.value.__context__ is None or told.value.__suppress_context__)
    assert type(told.value) in (ValueError, Damaged)
    del told
    gc.collect()
    assert not caplog.records and capfd.readouterr().err == ""  # 'Task exception was never retrieved' among others


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_set_outlives_the_damage_of_its_folder(tmp_path, damage):
    again = MaskSet.load(folder_of_five(tmp_path))
    DAMAGES[damage](tmp_path / "masks.zarr")
    dataset = again.to_xarray()
    assert dataset["mask"].shape == (5, 1, 6, 5) and "label" in dataset.coords


def test_folders_of_the_format_before_are_refused_by_name(tmp_path):
    path = random_set().save(tmp_path / "masks.zarr")
    change(path / "zarr.json", "attributes", "format", value="fourier_mask.MaskSet/2")
    message = "fourier_mask.MaskSet/2.*Learn the masks again into another path.*xarray"
    with pytest.raises(ValueError, match=message) as told: MaskSet.load(path)
    assert str(path) in str(told.value)
    with xr.open_zarr(path, consolidated=False) as dataset: assert dataset["mask"].shape == (2, 1, 6, 5)  # as it says
    change(path / "zarr.json", "attributes", "format", value="another/1")
    with pytest.raises(ValueError, match="MaskSet.save wrote.*'another/1'"): MaskSet.load(path)
    with pytest.raises(FileNotFoundError, match="not a folder"): MaskSet.load(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="not a folder"): MaskSet.load(tmp_path / "file")


def left(folder): return sorted(p.name for p in folder.iterdir())


def test_sets_are_not_replaced_unasked_nor_halfway(tmp_path, monkeypatch):
    path = random_set(seed=1).save(tmp_path / "masks.zarr")
    with pytest.raises(FileExistsError, match="overwrite=True"): random_set(seed=2).save(path)

    plain, calls = zarr.Array.__setitem__, []

    def fail(self, rows, values):
        calls.append(1)
        if len(calls) > 5: raise OSError("disk full")
        return plain(self, rows, values)

    for overwrite, name in ((True, "masks.zarr"), (False, "other.zarr")):
        calls.clear()
        with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
            patch.setattr(zarr.Array, "__setitem__", fail)
            random_set(seed=2).save(tmp_path / name, overwrite=overwrite)
        assert left(tmp_path) == ["masks.zarr"] and same(MaskSet.load(path), random_set(seed=1))
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no rename"):
        def refuse(self, target): raise OSError("no rename")

        patch.setattr(Path, "replace", refuse)
        random_set(seed=2).save(path, overwrite=True)
    assert left(tmp_path) == ["masks.zarr"] and same(MaskSet.load(path), random_set(seed=1))
    assert same(MaskSet.load(random_set(seed=2).save(path, overwrite=True)), random_set(seed=2))


@pytest.mark.parametrize("overwrite", [False, True])
def test_only_what_carries_our_mark_is_ever_replaced(tmp_path, overwrite):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "summer.jpg").write_bytes(b"beach")
    (tmp_path / "notes").write_text("mine")
    zarr.create_group(tmp_path / "foreign.zarr", zarr_format=3).attrs["format"] = "another/1"
    (tmp_path / "nothing").mkdir()
    before = files(tmp_path)
    for name in ("photos", "notes", "foreign.zarr", "nothing"):
        with pytest.raises(FileExistsError, match="not a folder of masks.*Choose another"):
            random_set().save(tmp_path / name, overwrite=overwrite)
    assert files(tmp_path) == before and left(tmp_path) == ["foreign.zarr", "notes", "nothing", "photos"]


def test_a_folder_of_the_format_before_may_be_replaced(tmp_path):
    path = random_set(seed=1).save(tmp_path / "masks.zarr")
    change(path / "zarr.json", "attributes", "format", value="fourier_mask.MaskSet/2")
    with pytest.raises(FileExistsError): random_set(seed=2).save(path)
    assert same(MaskSet.load(random_set(seed=2).save(path, overwrite=True)), random_set(seed=2))


def test_a_link_to_a_folder_leads_to_the_new_one(tmp_path):
    path = random_set(seed=1).save(tmp_path / "real" / "masks.zarr")
    (tmp_path / "link").symlink_to(path, target_is_directory=True)
    random_set(seed=2).save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink() and same(MaskSet.load(path), random_set(seed=2))
    assert left(tmp_path / "real") == ["masks.zarr"]


def test_a_small_set_is_not_filled_up_to_a_whole_shard(tmp_path):
    path = random_set(3).save(tmp_path / "masks.zarr")
    assert zarr.open_array(path / "mask").chunks == (3, 1, 6, 5)


def test_an_empty_set_is_saved_and_checked_like_any_other(tmp_path):
    none = random_set(5)[[]]
    path = none.save(tmp_path / "none.zarr")
    assert same(MaskSet.load(path), none)
    change(path / "zarr.json", "attributes", "settings", value='{"weight": 0.3}')
    with pytest.raises(ValueError, match="do not fit their checksum"): MaskSet.load(path)


def test_two_sets_are_the_same_files_if_they_are_the_same_sets(tmp_path):
    assert files(random_set(4).save(tmp_path / "a.zarr")) == files(random_set(4).save(tmp_path / "b.zarr"))


def test_a_loaded_set_is_not_shown_from_pieces_that_were_altered_since(tmp_path):
    masks = random_set(10)
    path = save_mask_set(masks, tmp_path / "masks.zarr", shard_size=4)
    again, pieces = MaskSet.load(path), [path / "mask" / "c" / number / "0" / "0" / "0" for number in "01"]
    first, second = (piece.read_bytes() for piece in pieces)
    pieces[0].write_bytes(second)
    pieces[1].write_bytes(first)
    assert np.array_equal(again.to_xarray()["mask"], masks.masks)


def test_complex_numbers_and_attributes_of_arrays_are_under_the_checksum(tmp_path):
    for name, keys, value in (
        ("held_part_reference", ("dimension_names",), [f"held_part_reference_{axis}" for axis in range(4)]),
        ("u", ("attributes", "long_name"), "mine"), ("label", ("attributes", "units"), "days since 2000-01-01"),
        ("mask", ("attributes", "scale_factor"), 2.0),
    ):
        path = folder_of_five(tmp_path / name)
        change(path / name / "zarr.json", *keys, value=value)
        with pytest.raises(ValueError, match="checksum|damaged") as told: MaskSet.load(path)
        assert str(path) in str(told.value)


ASCII = """
import os, resource, sys
from mask_sets import random_set
from fourier_mask.mask_set import MaskSet
path = os.path.join(sys.argv[1], os.fsdecode("m\\u00e4sken.zarr".encode()))
for seed in (0, 1): random_set(3, seed=seed).save(path, overwrite=seed)
assert (MaskSet.load(path).masks == random_set(3, seed=1).masks).all()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
hogs = []
try:
    while True: hogs.append(open(os.devnull))
except OSError: pass
try: MaskSet.load(path)
except OSError as error: print(error.errno, "too many open files" in str(error), "no damage" in str(error))
"""


@pytest.mark.parametrize("locale", [{}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_any_name_goes_in_any_locale_and_too_many_open_files_are_no_damage(tmp_path, locale):
    environment = os.environ | {"LC_ALL": "C", "PYTHONPATH": os.pathsep.join(sys.path)} | locale
    command = [sys.executable, "-c", ASCII, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == ["24", "True", "True"] and result.stderr == ""
    assert left(tmp_path) == ["mäsken.zarr"]


@pytest.mark.parametrize(("one", "other", "same"), [
    ([1.0, 2.0], [1.0005, 2.0], True), ([1.0, 2.0], [1.01, 2.0], False), ([None, 2.0], [None, 2.0], True),
    ([None, 2.0], [1.0, 2.0], False), ("unknown", [1.0], False), (None, [1.0], False), ([0.0], [0.0], True),
    (["a"], [1.0], False), ([1.0], [1.0, 1.0], False), ([[1.0]], [[1.0]], False), ({}, [1.0], False),
])
def test_answers_are_the_same_up_to_rounding(one, other, same):
    assert same_answers(one, other) == same_answers(other, one) == same


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO])
def test_what_is_short_while_masks_are_written_is_told_with_the_place(tmp_path, monkeypatch, code):
    "A full disk says nothing of the folder that had no room; nothing that was not written counts."
    masks, path, new = random_set(4, 1, (6, 5)), tmp_path / "masks.zarr", tmp_path / "new.zarr"
    create_mask_folder(path, (4, 1, 6, 5), masks.settings, 4, masks.trace, masks.held)

    def refuse(*given): raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", refuse)
        for place, call in {path: lambda: write_shard(path, 0, masks), new: lambda: masks.save(new)}.items():
            with pytest.raises(OSError, match=f"path {place} .*{os.strerror(code).lower()}") as caught: call()
            assert caught.value.errno == code
    assert not open_masks(path)["written"].any() and os.listdir(tmp_path) == ["masks.zarr"]
    write_shard(path, 0, masks)
    assert same(MaskSet.load(path), masks)
