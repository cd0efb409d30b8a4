"Masks of many images in a folder of shards: killed, gone on with, extended, damaged, read while it is written."
import signal
import subprocess
import sys
import time

import pytest
import torch
from test_learn import small_images, small_network
from torch.utils.data import TensorDataset

from fourier_mask.learn import learn_image_masks
from fourier_mask.mask_set import MaskSet
from fourier_mask.shards import open_masks
from fourier_mask.store import checksums, store_image_masks

SETTINGS = dict(tolerance=1e-3, progress=False)
PROCESS = """
import os, sys, time
import torch
sys.path.insert(0, "tests")
from test_learn import small_images, small_network
import fourier_mask.shards
from fourier_mask.store import store_image_masks
model, (x, y) = small_network(), small_images()
path, where = sys.argv[1:]

class Slow(torch.nn.Module):
    "Halts, saying so, once it has learned two shards, or when the third one's numbers are half written."
    def __init__(self): super().__init__(); self.inner, self.batches = model, 0
    def forward(self, x):
        if where == "between" and os.path.isdir(path):
            if fourier_mask.shards.open_masks(path)["written"].to_numpy().sum() == 6: halt()
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
store_image_masks(path, Slow(), x, y, shard_size=3, tolerance=1e-3, progress=False)
"""


class Slow(torch.nn.Module):
    "The network of `PROCESS`, which has the same weights under the same names."

    def __init__(self): super().__init__(); self.inner = small_network()
    def forward(self, x): return self.inner(x)


def learn(path, x, y, model=None, **changes): return store_image_masks(path, model or Slow(), x, y, **dict(shard_size=3, **SETTINGS) | changes)


@pytest.mark.parametrize("where", ["between", "inside"])
def test_killed_it_loses_the_shard_at_work_and_ends_as_if_it_had_not_been(tmp_path, where):
    x, y = small_images()
    process = subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path / "masks.zarr"), where], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "halted\n"
    process.send_signal(signal.SIGKILL); process.communicate()
    assert open_masks(tmp_path / "masks.zarr")["written"].to_numpy().tolist() == [True] * 6 + [False] * 6  # two shards of four
    with pytest.raises(ValueError, match="not finished: masks 6 … 8 are missing"): MaskSet.load(tmp_path / "masks.zarr")
    kept = [p.stat().st_mtime_ns for p in sorted((tmp_path / "masks.zarr" / "mask" / "c").glob("[01]/0/0/0"))]
    killed, calm = learn(tmp_path / "masks.zarr", x, y), learn(tmp_path / "calm.zarr", x, y)
    assert [p.stat().st_mtime_ns for p in sorted((killed / "mask" / "c").glob("[01]/0/0/0"))] == kept and len(kept) == 2
    assert checksums(killed) == checksums(calm)  # every file, to the last bit


def test_it_holds_what_the_learner_returns_and_is_found_again(tmp_path):
    x, y = small_images()
    path = learn(tmp_path / "masks.zarr", x, y, index=torch.arange(100, 112))
    masks, direct = MaskSet.load(path), learn_image_masks(Slow(), x, y, batch_size=3, **SETTINGS)
    assert all(torch.equal(getattr(masks, name), getattr(direct, name)) for name in ("masks", "objective", "steps", "labels", "predictions"))
    assert masks.index.tolist() == list(range(100, 112)) and masks.settings["weight"] == 0.07 and masks.settings["batch_size"] == 3
    times = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    learn(path, x, y, index=torch.arange(100, 112))
    assert {p: p.stat().st_mtime_ns for p in path.rglob("*")} == times


def test_more_images_go_on_and_a_kill_while_it_grows_does_no_harm(tmp_path):
    x, y = small_images()
    path = learn(tmp_path / "masks.zarr", x[:5], y[:5])  # a shard of three and one of two
    class Stop(Exception): pass
    def stop(): raise Stop

    with pytest.raises(Stop): learn(path, x, y, model=Interrupted(stop))  # after it has made room
    assert open_masks(path)["written"].to_numpy().tolist() == [True] * 3 + [False] * 9
    learn(path, x, y)
    assert checksums(path) == checksums(learn(tmp_path / "calm.zarr", x, y))


def test_a_kill_while_room_is_made_is_undone(tmp_path, monkeypatch):
    import zarr

    x, y = small_images()
    calm, plain = learn(tmp_path / "calm.zarr", x, y), zarr.Array.resize

    class Stop(Exception): pass

    for most in range(13):
        path, done = learn(tmp_path / f"{most}.zarr", x[:5], y[:5]), []

        def resize(self, size, most=most, done=done):
            if len(done) == most: raise Stop
            done.append(1)
            return plain(self, size)

        with monkeypatch.context() as patch:
            patch.setattr(zarr.Array, "resize", resize)
            try: learn(path, x, y)
            except Stop: pass
        learn(path, x, y)
        assert checksums(path) == checksums(calm)
        if len(done) < most: break
    assert 10 <= most < 13  # every array was the last to grow once


def test_out_of_memory_is_said_once_for_the_whole_folder(tmp_path):
    class Small(Slow):
        def forward(self, x):
            if len(x) > 4: raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    x, y = small_images()
    with pytest.warns(UserWarning, match="out of memory with batches of 6") as told: path = learn(tmp_path / "masks.zarr", x, y, model=Small(), batch_size=6, shard_size=6)
    assert len(told) == 1 and len(MaskSet.load(path)) == 12


class Interrupted(Slow):
    "The same network, which calls something before it answers."

    def __init__(self, call): super().__init__(); self.call = call
    def forward(self, x): self.call(); return super().forward(x)


@pytest.mark.parametrize(("change", "message"), [
    (dict(weight=0.1), "weight is 0.07 there and 0.1 here"), (dict(steps=50), "steps is 120 there and 50 here"), (dict(schedule="authors"), "schedule is 'fast' there"),
    (dict(batch_size=2), "batch_size is 3 there and 2 here"), (dict(shard_size=4), "shard_size is 3 there and 4 here"),
    (dict(model=small_network().float()), "network is"), (dict(x=small_images()[0].flip(0)), "images, labels or index 0 … 2 are not those"),
    (dict(y=small_images()[1].flip(0)), "images, labels or index 0 … 2"), (dict(x=small_images()[0][:4], y=small_images()[1][:4]), "at least the 12"),
    (dict(y=torch.zeros(24, dtype=torch.long)), "labels must"), (dict(index=torch.rand(12)), "index must"),
    (dict(index=torch.arange(3)), "index must be whole numbers of shape"), (dict(shard_size=0), "shard_size must be"), (dict(x=small_images()[0][:0]), "at least one image"),
])
def test_another_run_is_refused_with_the_difference_and_nothing_is_touched(tmp_path, change, message):
    x, y = small_images()
    path = learn(tmp_path / "masks.zarr", x, y)
    before = checksums(path)
    with pytest.raises(ValueError, match=message): learn(path, **dict(x=x, y=y) | change)
    assert checksums(path) == before


def test_an_altered_shard_is_named_and_learned_again(tmp_path):
    x, y = small_images()
    path = learn(tmp_path / "masks.zarr", x, y)
    before, chunk = checksums(path), path / "mask" / "c" / "2" / "0" / "0" / "0"
    for damage in (chunk.read_bytes()[:-4], bytes(len(chunk.read_bytes())), None):
        if damage is None: chunk.unlink()
        else: chunk.write_bytes(damage)
        with pytest.raises(ValueError, match="masks 6 … 8 do not fit their checksum"): MaskSet.load(path)
        with pytest.warns(UserWarning, match="masks 6 … 8 were cut short or altered"): learn(path, x, y)
        assert checksums(path) == before


def test_it_can_be_read_while_it_is_written(tmp_path):
    x, y = small_images()
    seen = []

    def look():
        if not (tmp_path / "masks.zarr").is_dir(): return  # the memory an image takes is found before the folder is made
        dataset = open_masks(tmp_path / "masks.zarr")
        done = dataset["written"].to_numpy()
        if done.any(): seen.append((int(done.sum()), float(dataset["sparsity"][done].to_numpy().mean())))

    path = learn(tmp_path / "masks.zarr", x, y, model=Interrupted(look))
    assert {count for count, _ in seen} == {3, 6, 9}
    assert seen[-1][1] == pytest.approx(MaskSet.load(path).sparsity[:9].mean().item())


def test_a_data_set_need_not_fit_into_memory_and_labels_may_be_the_networks_own(tmp_path):
    x, y = small_images()
    from_dataset, from_tensor = learn(tmp_path / "a.zarr", TensorDataset(x, y), None), learn(tmp_path / "b.zarr", x, y)
    assert checksums(from_dataset) == checksums(from_tensor)
    assert torch.equal(MaskSet.load(learn(tmp_path / "c.zarr", x, None)).labels, small_network()(x).argmax(1))


def test_unsettled_masks_are_told_once_for_the_whole_folder(tmp_path):
    x, y = small_images()
    began = time.monotonic()
    with pytest.warns(UserWarning, match="12 of 12 masks had not settled") as told: learn(tmp_path / "masks.zarr", x, y, steps=2)
    assert len(told) == 1 and time.monotonic() - began < 60
