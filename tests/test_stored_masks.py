"Masks of many images in a folder of shards: killed, gone on with, extended, damaged, read while it is written."
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from mask_sets import change
from small import small_images, small_network
from torch.utils.data import TensorDataset

from fourier_mask import shards
from fourier_mask.basis import RealFourier
from fourier_mask.learn import learn_image_masks
from fourier_mask.made_from import answers_of
from fourier_mask.mask_folder import MadeOtherwise, fill, store_image_masks
from fourier_mask.mask_set import PER_MASK, MaskSet, same_answers
from fourier_mask.part import Phase
from fourier_mask.shards import open_masks
from fourier_mask.store import checksums

PROCESS = """
import os, sys, time
import torch
sys.path.insert(0, "tests")
from small import small_images, small_network
from fourier_mask.mask_folder import store_image_masks
from fourier_mask.shards import open_masks
model, (x, y) = small_network(), small_images()
path, where = sys.argv[1:]

class Slow(torch.nn.Module):
    "Halts, saying so, once it has learned two shards, or when the third one's numbers are half written."
    def __init__(self): super().__init__(); self.inner = model
    def forward(self, x):
        if where == "between" and os.path.isdir(path) and open_masks(path)["written"].to_numpy().sum() == 6: halt()
        return self.inner(x)

def halt(): print("halted", flush=True); time.sleep(600)

if where == "inside":
    import zarr
    plain, written = zarr.Array.__setitem__, []
    def setitem(self, rows, values):
        plain(self, rows, values)
        if self.basename == "mask": written.append(rows)
        if len(written) == 3: halt()
    zarr.Array.__setitem__ = setitem
store_image_masks(path, Slow(), x, y, shard_size=3, progress=False)
"""


class Slow(torch.nn.Module):
    "The network of `PROCESS`, which has the same weights under the same names."

    def __init__(self):
        super().__init__()
        self.inner = small_network()

    def forward(self, x): return self.inner(x)


class Interrupted(Slow):
    "The same network, which calls something before it answers."

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        self.call()
        return super().forward(x)


class Stop(Exception): pass


def stop(): raise Stop


def learn(path, x, y, model=None, **changes):
    settings = dict(shard_size=3, progress=False) | changes
    return store_image_masks(path, model or Slow(), x, y, **settings)


@pytest.mark.parametrize("where", ["between", "inside"])
def test_killed_it_loses_the_shard_at_work_and_ends_as_if_it_had_not_been(tmp_path, where):
    (x, y), path = small_images(), tmp_path / "masks.zarr"
    command = [sys.executable, "-c", PROCESS, str(path), where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "halted\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert open_masks(path)["written"].to_numpy().tolist() == [True] * 6 + [False] * 6  # two shards of four
    with pytest.raises(ValueError, match="not finished: masks 6 … 8 are missing"): MaskSet.load(path)
    kept = [p.stat().st_mtime_ns for p in sorted((path / "mask" / "c").glob("[01]/0/0/0"))]
    killed, calm = learn(path, x, y), learn(tmp_path / "calm.zarr", x, y)
    assert [p.stat().st_mtime_ns for p in sorted((killed / "mask" / "c").glob("[01]/0/0/0"))] == kept and len(kept) == 2
    assert checksums(killed) == checksums(calm)  # every file, to the last bit


def test_it_holds_what_the_learner_returns_and_is_found_again(tmp_path):
    x, y = small_images()
    path = learn(tmp_path / "masks.zarr", x, y, index=torch.arange(100, 112))
    masks, direct = MaskSet.load(path), learn_image_masks(Slow(), x, y, progress=False)
    for name in {"masks", *PER_MASK} - {"index"}: assert torch.equal(getattr(masks, name), getattr(direct, name)), name
    assert masks.index.tolist() == list(range(100, 112))
    there, here = dict(masks.settings), dict(direct.settings)
    assert len(there["network"]) == 64 and len(there.pop("answers")) == 8
    assert here.pop("batch_size") == 64 and there == here
    times = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    learn(path, x, y, index=torch.arange(100, 112))
    assert {p: p.stat().st_mtime_ns for p in path.rglob("*")} == times


def test_a_shard_of_one_image_and_every_part_is_as_without_a_folder(tmp_path):
    "An image with a shard to itself is filled up like those in company; and so is what is left of other parts."
    x, y = small_images(7)
    settings = dict(form="Rings", part="phase", loss="squared_error", weight=0.01)
    path = learn(tmp_path / "masks.zarr", x, "predicted", shard_size=3, **settings)
    masks, direct = MaskSet.load(path), learn_image_masks(Slow(), x, progress=False, **settings)
    assert torch.equal(masks.masks, direct.masks) and torch.equal(masks.reached, direct.reached)
    assert masks.held.keys() == direct.held.keys() and masks.settings["part"] == direct.settings["part"]
    torch.testing.assert_close(masks.apply(x), direct.apply(x), rtol=0, atol=0)


@pytest.mark.parametrize("changes", [dict(batch_size=4), dict(shard_size=5), dict(batch_size=8, shard_size=1)])
def test_what_changes_no_mask_is_not_compared(tmp_path, changes):
    "A folder is gone on with in other batches, and keeps the shards that it was made with."
    x, y = small_images()
    calm, path = learn(tmp_path / "calm.zarr", x, y), tmp_path / "masks.zarr"
    with pytest.raises(Stop): learn(path, x, y, model=stopping_after(path, 6))
    assert checksums(learn(path, x, y, **changes)) == checksums(calm)


def stopping_after(path, images):
    def look():
        if path.is_dir() and open_masks(path)["written"].to_numpy().sum() >= images: raise Stop

    return Interrupted(look)


def test_more_images_go_on_and_a_kill_while_it_grows_does_no_harm(tmp_path):
    x, y = small_images()
    path = learn(tmp_path / "masks.zarr", x[:5], y[:5])  # a shard of three and one of two
    with pytest.raises(Stop): learn(path, x, y, model=Interrupted(stop))  # after it has made room
    assert open_masks(path)["written"].to_numpy().tolist() == [True] * 3 + [False] * 9
    learn(path, x, y)
    assert checksums(path) == checksums(learn(tmp_path / "calm.zarr", x, y))


def test_a_kill_while_room_is_made_is_undone(tmp_path, monkeypatch):
    x, y = small_images()
    calm, plain = learn(tmp_path / "calm.zarr", x, y), zarr.Array.resize
    before = learn(tmp_path / "before.zarr", x[:5], y[:5])
    for most in range(14):
        path, done = Path(shutil.copytree(before, tmp_path / f"{most}.zarr")), []

        def resize(self, size, most=most, done=done):
            if len(done) == most: raise ValueError("no room")
            done.append(1)
            return plain(self, size)

        with monkeypatch.context() as patch:
            patch.setattr(zarr.Array, "resize", resize)
            try: learn(path, x, y)
            except ValueError as error: assert "no room" in str(error)
        learn(path, x, y)
        assert checksums(path) == checksums(calm)
        if len(done) < most: break
    assert most == 14 - 1  # every array, thirteen of them, was the last to grow once


def test_a_kill_while_the_folder_is_made_leaves_nothing_behind(tmp_path):
    x, y = small_images()
    left = tmp_path / ".masks.zarr.0123456789abcdef.part"
    left.mkdir()
    (left / "zarr.json").write_text("{")
    learn(tmp_path / "masks.zarr", x, y)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["masks.zarr", "masks.zarr.lock"]


def test_out_of_memory_is_said_once_and_leaves_the_same_folder(tmp_path):
    class Small(Slow):
        def forward(self, x):
            if len(x) > 4: raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    (x, y), path = small_images(20), tmp_path / "masks.zarr"
    with pytest.warns(UserWarning, match="out of memory with batches of 8") as told:
        learn(path, x, y, model=Small(), batch_size=8, shard_size=8)
    assert len(told) == 1 and "batch_size" not in MaskSet.load(path).settings
    assert checksums(path) == checksums(learn(tmp_path / "large.zarr", x, y, batch_size=8, shard_size=8))
    learn(path, x, y, batch_size=8)  # and it is found again


class Halved(Slow):
    "The same weights, and another layer around them."

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x): return self.inner(x / 2)


def scaled(network):
    "Other weights."
    with torch.no_grad(): network.inner[0].weight *= 1.001
    return network


X, Y = small_images()
OTHERWISE = [
    (dict(weight=0.1), "weight is 0.07 there and 0.1 here"),
    (dict(steps=50), "steps is None there and 50 here"),
    (dict(schedule="authors"), "schedule is 'fast' there and 'authors' here"),
    (dict(form="Rings"), "form.name is 'Free' there and 'Rings' here"),
    (dict(goal="change"), "goal.name is 'Keep' there and 'Change' here"),
    (dict(model=scaled(Slow())), "network is"),
    (dict(model=Halved(small_network())), "otherwise, what the network answers to noise is"),
    (dict(output_fn=torch.tanh), "otherwise, what the network answers to noise is"),
    (dict(x=X.flip(0)), "images, labels or index 0 … 2 are not those"),
    (dict(y=Y.flip(0)), "images, labels or index 0 … 2 are not those"),
    (dict(y="predicted"), "images, labels or index 0 … 2 are not those"),
    (dict(loss=lambda out, clean, y: (out - clean).abs().sum(1)), "loss.name is"),
    (dict(index=torch.arange(1, 13)), "images, labels or index 0 … 2 are not those"),
    (dict(x=X[:4], y=Y[:4]), "at least the 12"),
]
REFUSED = [
    (dict(y=torch.zeros(24, dtype=torch.long)), "labels must"),
    (dict(index=torch.rand(12)), "index must"),
    (dict(index=torch.arange(3)), "index must be whole numbers of shape"),
    (dict(shard_size=0), "shard_size must be"),
    (dict(shard_size=True), "shard_size must be"),
    (dict(batch_size=0), "batch_size must be"),
    (dict(weight=True), "weight = True is not allowed"),
    (dict(x=X[:0]), "images must have shape .* with nothing empty"),
]


@pytest.mark.parametrize(("change", "message", "otherwise"),
                         [(*each, True) for each in OTHERWISE] + [(*each, False) for each in REFUSED])
def test_another_run_is_refused_with_the_difference_and_nothing_is_touched(tmp_path, change, message, otherwise):
    path = learn(tmp_path / "masks.zarr", X, Y)
    before = checksums(path)
    with pytest.raises(ValueError, match=message) as caught: learn(path, **dict(x=X, y=Y) | change)
    assert isinstance(caught.value, MadeOtherwise) == otherwise and checksums(path) == before


def test_what_is_no_folder_of_masks_is_not_touched(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    with pytest.raises(ValueError, match="must hold what MaskSet.save wrote") as caught:
        learn(tmp_path / "photos", X, Y)
    assert not isinstance(caught.value, MadeOtherwise) and len(list((tmp_path / "photos").iterdir())) == 1


def test_an_altered_shard_is_named_and_learned_again(tmp_path):
    path = learn(tmp_path / "masks.zarr", X, Y)
    before, chunk = checksums(path), path / "mask" / "c" / "2" / "0" / "0" / "0"
    for damage in (chunk.read_bytes()[:-4], bytes(len(chunk.read_bytes())), None):
        if damage is None: chunk.unlink()
        else: chunk.write_bytes(damage)
        with pytest.raises(ValueError, match="masks 6 … 8 do not fit their checksum"): MaskSet.load(path)
        with pytest.warns(UserWarning, match="masks 6 … 8 were cut short or altered"): learn(path, X, Y)
        assert checksums(path) == before


def test_it_can_be_read_while_it_is_written(tmp_path):
    seen = []

    def look():
        if not (tmp_path / "masks.zarr").is_dir(): return
        dataset = open_masks(tmp_path / "masks.zarr")
        done = dataset["written"].to_numpy()
        if done.any(): seen.append((int(done.sum()), float(dataset["sparsity"][done].to_numpy().mean())))

    path = learn(tmp_path / "masks.zarr", X, Y, model=Interrupted(look))
    assert {count for count, _ in seen} == {3, 6, 9}
    assert seen[-1][1] == pytest.approx(MaskSet.load(path).sparsity[:9].mean().item())


def test_a_data_set_need_not_fit_into_memory_and_labels_may_be_the_networks_own(tmp_path):
    class OnDisk(torch.utils.data.Dataset):
        def __len__(self): return len(X)

        def __getitem__(self, i):
            read.append(i)
            return X[i], int(Y[i])

    read = []
    from_dataset, from_tensor = learn(tmp_path / "a.zarr", OnDisk(), "given"), learn(tmp_path / "b.zarr", X, Y)
    assert read == [0, *range(12)]  # the first is asked for the size
    assert checksums(from_dataset) == checksums(from_tensor)
    assert checksums(learn(tmp_path / "c.zarr", TensorDataset(X, Y), "given")) == checksums(from_tensor)
    own = MaskSet.load(learn(tmp_path / "d.zarr", OnDisk(), "predicted"))
    assert torch.equal(own.labels, small_network()(X).argmax(1))


def test_unsettled_masks_are_told_once_for_the_whole_folder(tmp_path):
    began = time.monotonic()
    with pytest.warns(UserWarning, match="12 of 12 masks had not settled") as told:
        learn(tmp_path / "masks.zarr", X, Y, steps=2)
    assert len(told) == 1 and time.monotonic() - began < 60


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_images_of_half_precision_have_an_origin_too(tmp_path, half):
    path = learn(tmp_path / "masks.zarr", X.to(half), Y)
    before = checksums(path)
    assert checksums(learn(path, X.to(half), Y)) == before
    with pytest.raises(MadeOtherwise, match="images, labels or index 0 … 2 are not those"): learn(path, X, Y)


def test_a_folder_of_one_loss_is_not_gone_on_with_by_another_of_its_name(tmp_path):
    losses = [lambda out, clean, y: (out - clean).square().sum(1), lambda out, clean, y: (out - clean).abs().sum(1)]
    path = learn(tmp_path / "masks.zarr", X, "predicted", loss=losses[0])
    before = checksums(path)
    with pytest.raises(MadeOtherwise, match="loss.code is"): learn(path, X, "predicted", loss=losses[1])
    assert checksums(learn(path, X, "predicted", loss=losses[0])) == before


@pytest.mark.parametrize("name", ["held_part_reference", "u"])
def test_what_all_masks_share_is_compared_where_no_checksum_speaks_for_it(tmp_path, name):
    "Found by damaging at random: no shard counts, and a tensor of the part reads as nothing."
    part = Phase(RealFourier((6, 5)))
    calm = MaskSet.load(learn(tmp_path / "calm.zarr", X, Y, part=part))
    path = learn(tmp_path / "masks.zarr", X, Y, part=part)
    for array in ("checksum", name): shutil.rmtree(path / array / "c")
    with pytest.warns(UserWarning, match=f"{name} is not what it was"): learn(path, X, Y, part=part)
    again = MaskSet.load(path)
    assert torch.equal(again.masks, calm.masks)
    assert all(torch.equal(again.held[key], value) for key, value in calm.held.items())
    assert np.array_equal(again.to_xarray()["u"], calm.to_xarray()["u"])


class Picky:
    "A network that takes batches of the sizes in `takes`, as one that was exported."

    def __init__(self, network, takes): self.network, self.takes = network, takes

    def __call__(self, x):
        if len(x) not in self.takes: raise RuntimeError("batches of another size")
        return self.network(x)


@pytest.mark.parametrize("takes", [(1,), (2,), (1, 2)])
def test_a_network_that_takes_few_sizes_of_batches_is_known_all_the_same(takes):
    torch.manual_seed(1)
    networks = small_network(), small_network().requires_grad_(False)
    with torch.no_grad(): networks[1][0].weight.mul_(1.5)
    told = [answers_of(Picky(network, takes), None, X[:1]) for network in networks]
    assert same_answers(told[0], answers_of(networks[0], None, X[:1])) and not same_answers(*told)


def replaced_by_folder(path):
    path.unlink()
    (path / "inner").mkdir(parents=True)


def replaced_by_link(path):
    shutil.copytree(path, path.parents[1] / "outside")
    shutil.rmtree(path)
    path.symlink_to(path.parents[1] / "outside", target_is_directory=True)


BROKEN = {  # what it is, and of how many shards the masks are kept
    "an array without record": (lambda p: (p / "label" / "zarr.json").unlink(), 4),
    "an array's record empty": (lambda p: (p / "mask" / "zarr.json").write_bytes(b""), 4),
    "an array gone": (lambda p: shutil.rmtree(p / "steps"), 0),
    "no settings": (lambda p: change(p / "zarr.json", "attributes", "settings"), 4),
    "settings that are a number": (lambda p: change(p / "zarr.json", "attributes", "settings", value="3"), 4),
    "other coordinates": (lambda p: change(p / "zarr.json", "attributes", "coordinates", value="label index"), 4),
    "one attribute more": (lambda p: change(p / "zarr.json", "attributes", "comment", value="mine"), 4),
    "an attribute of an array": (lambda p: change(p / "u" / "zarr.json", "attributes", "long_name", value="mine"), 4),
    "frequencies gone": (lambda p: shutil.rmtree(p / "u"), 4),
    "frequencies' numbers gone": (lambda p: shutil.rmtree(p / "v" / "c"), 4),
    "fewer masks": (lambda p: change(p / "mask" / "zarr.json", "shape", value=[4, 1, 6, 5]), 4),
    "no checksums": (lambda p: change(p / "checksum" / "zarr.json", "shape", value=[0, 32]), 4),
    "masks without number": (lambda p: change(p / "mask" / "zarr.json", "shape", value=[10**30, 1, 6, 5]), 4),
    "another origin where none is": (lambda p: change(p / "origin" / "zarr.json", "fill_value", value=1), 4),
    "other pieces": (lambda p: change(
        p / "mask" / "zarr.json", "chunk_grid", "configuration", "chunk_shape", value=[1, 1, 6, 5]), 4),
    "no codecs": (lambda p: change(p / "mask" / "zarr.json", "codecs"), 4),
    "an array more": (lambda p: shutil.copytree(p / "label", p / "more"), 4),
    "a piece that is a folder": (lambda p: replaced_by_folder(p / "mask" / "c" / "1" / "0" / "0" / "0"), 3),
    "all pieces of no use": (lambda p: [each.write_bytes(b"") for each in (p / "steps" / "c").iterdir()], 0),
}


def learning(forward):
    "The network, which tells when it is asked by a learner and not only of noise."
    class Counted(Slow):
        def forward(self, x):
            if x.requires_grad: forward.append(len(x))
            return super().forward(x)

    return Counted()


@pytest.mark.parametrize("damage", BROKEN)
@pytest.mark.parametrize("where", ["marked", "ours"])
def test_a_broken_folder_is_put_aside_and_its_whole_shards_are_kept(tmp_path, recwarn, damage, where):
    "Whatever was learned is found again in the new folder, byte for byte, and in the old one."
    path, (breaks, kept) = learn(tmp_path / "masks.zarr", X, Y, steps=5), BROKEN[damage]
    before, masks = checksums(path), MaskSet.load(path)
    breaks(path)
    if where == "ours": (path / "zarr.json").write_bytes(b"")
    broken, asked = checksums(path), []
    recwarn.clear()
    if where == "marked": learn(path, X, Y, steps=5, model=learning(asked))
    else: in_the_store(path, learning(asked))
    aside = tmp_path / "masks.zarr.damaged-1"
    told = [str(each.message) for each in recwarn if "It is kept as" in str(each.message)]
    assert len(told) == 1 and str(aside) in told[0] and str(path) in told[0]
    assert checksums(aside) == broken and checksums(path) == before
    assert torch.equal(MaskSet.load(path).masks, masks.masks)
    assert bool(asked) == (kept < 4)
    assert sum("were cut short or altered" in str(each.message) for each in recwarn) == 4 - kept


def in_the_store(path, model):
    "As the store's maker calls it, in a place of its own."
    from fourier_mask.images import supply_of
    from fourier_mask.learner import parts_of
    from fourier_mask.settings import ImageMaskSettings
    from fourier_mask.workers import Asked

    asked = Asked(model, ImageMaskSettings(weight=0.07, steps=5), parts_of((6, 5), "fourier", "Free", "filter", "keep",
                                                                           "cross_entropy"))
    fill(path, asked, supply_of(X, Y, None, "cross_entropy"), 3, None, None, False)


def test_an_array_that_is_a_link_is_read_and_never_written_to(tmp_path):
    path = learn(tmp_path / "masks.zarr", X, Y)
    before = checksums(path)
    replaced_by_link(path / "mask")
    mine = checksums(tmp_path / "outside")
    assert learn(path, X, Y) == path and (path / "mask").is_symlink()  # nothing to do
    shutil.rmtree(path / "checksum" / "c" / "3")
    with pytest.warns(UserWarning, match="mask is not what stands there in a folder of masks.*masks.zarr.damaged-1"):
        learn(path, X, Y)
    assert checksums(path) == before and checksums(tmp_path / "outside") == mine and not (path / "mask").is_symlink()


def test_a_folder_whose_own_record_is_gone_may_be_anybodys(tmp_path):
    path = learn(tmp_path / "masks.zarr", X, Y)
    (path / "zarr.json").unlink()
    before = checksums(path)
    with pytest.raises(ValueError, match="Where zarr.json was damaged, .* into another path") as told: learn(path, X, Y)
    assert str(path) in str(told.value) and checksums(path) == before and not list(tmp_path.glob("*damaged*"))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="is not a folder"): learn(tmp_path / "link", X, Y)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["checksum", "origin"])
def test_a_checksum_that_cannot_be_read_costs_its_shard_alone(tmp_path, name):
    path = learn(tmp_path / "masks.zarr", X, Y)
    before = checksums(path)
    (path / name / "c" / "0" / "0").write_bytes(b"")
    with pytest.raises(ValueError, match="masks 0 … 2 do not fit their checksum"): MaskSet.load(path)
    with pytest.warns(UserWarning, match="masks 0 … 2 were cut short or altered"): learn(path, X, Y)
    assert checksums(path) == before and not list(tmp_path.glob("*damaged*"))


def test_what_is_not_ours_is_never_removed(tmp_path):
    others = ["masks.zarr.new", "masks.zarr.part", ".masks.zarr.part", ".masks.zarr.0123.part", "masks.zarr.damaged-1"]
    for name in others: (tmp_path / name).write_text("mine")
    path = learn(tmp_path / "masks.zarr", X, Y)
    (path / "u.zarr.new").write_text("mine")
    (path / "label" / "zarr.json").unlink()
    with pytest.warns(UserWarning, match="masks.zarr.damaged-2"): learn(path, X, Y)
    assert all((tmp_path / name).read_text() == "mine" for name in others)
    assert (tmp_path / "masks.zarr.damaged-2" / "u.zarr.new").read_text() == "mine"


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, torch.nn.Sequential])
def test_a_network_in_another_wrapping_is_the_same_one(tmp_path, wrap):
    path = learn(tmp_path / "masks.zarr", X, Y)
    before = checksums(path)
    assert checksums(learn(path, X, Y, model=wrap(Slow()))) == before


def test_a_finished_folder_is_found_without_writing_anything(tmp_path, monkeypatch):
    path = learn(tmp_path / "masks.zarr", X, Y)
    (tmp_path / "masks.zarr.lock").unlink()
    (tmp_path / "link").symlink_to(path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))}

    def refuse(*_, **__): raise PermissionError(errno.EACCES, "read-only", str(tmp_path))

    for name in ("write_bytes", "write_text", "mkdir", "touch", "unlink", "rename", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    assert learn(path, X, Y) == path and learn(tmp_path / "link", X, Y) == tmp_path / "link"
    assert MaskSet.load(path).to_xarray()["mask"].shape == (12, 1, 6, 5)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))} == before
    with pytest.raises(MadeOtherwise): learn(path, X, Y, weight=0.1)
    with pytest.raises(OSError, match="cannot be written"): learn(path, torch.cat([X, X]), torch.cat([Y, Y]))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.EACCES, errno.ENOMEM])
def test_what_the_machine_lacks_is_no_damage(tmp_path, monkeypatch, code):
    "Neither is anything put aside, nor learned again."
    path = learn(tmp_path / "masks.zarr", X, Y)
    before, reads = checksums(tmp_path), []

    def fail(self, *words, **options):
        reads.append(self)
        if len(reads) > most: raise OSError(code, os.strerror(code), str(self))
        return opened(self, *words, **options)

    opened, most = Path.open, 0
    for most in (0, 20, 34, 40):
        for call in (lambda: MaskSet.load(path), lambda: open_masks(path)["written"], lambda: learn(path, X, Y)):
            reads.clear()
            with monkeypatch.context() as patch:
                patch.setattr(Path, "open", fail)
                try: call()
                except OSError as error:
                    assert error.errno == code and str(path) in str(error) and "no damage" in str(error)
                    assert os.strerror(code).lower() in str(error) and "\n" not in str(error)
                else: assert len(reads) <= most
    assert checksums(tmp_path) == before


def test_numbers_are_on_the_disk_before_the_checksum_by_which_they_count(tmp_path, monkeypatch):
    path, done, setitem = tmp_path / "masks.zarr", [], zarr.Array.__setitem__

    def noted(handle): done.append(os.readlink(f"/proc/self/fd/{handle}"))

    def written(self, rows, values):
        done.append(f"write {self.basename}")
        return setitem(self, rows, values)

    masks = MaskSet.load(learn(path, X, Y))
    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(zarr.Array, "__setitem__", written)
    shards.write_shard(path, 1, masks[3:6], b"x" * 32)
    at = done.index("write checksum")
    files = [str(p) for p in path.glob("*/c/1") if p.is_file()] + [str(path / "mask" / "c" / "1" / "0" / "0" / "0")]
    files += [str(path / "origin" / "c" / "1" / "0")]
    assert set(files) <= set(done[:at]) and {f"{path}/mask/c/1", f"{path}/mask/c", f"{path}/label/c"} <= set(done[:at])
    assert done[at + 1] == str(path / "checksum" / "c" / "1" / "0") and all("checksum" in each for each in done[at:])
