"The store under damage, concurrency and sudden death, in real processes."
import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from fourier_mask.store import Store, check_folder
from fourier_mask.study import Study

SLOW = """
import os, sys, time
from fourier_mask.store import Store
def make(part):
    (part / "a.txt").write_text("half")
    print("at work", flush=True)
    while not os.path.exists(sys.argv[2]): time.sleep(0.02)
    (part / "a.txt").write_text("whole")
    return {"maker": os.getpid()}
print(Store(sys.argv[1]).fetch("slow", {"n": 1}, make).record["result"]["maker"], flush=True)
"""


def slow(folder, until):
    "A process that makes a result and is done with it once the file `until` is there."
    return subprocess.Popen([sys.executable, "-c", SLOW, str(folder), str(until)], stdout=subprocess.PIPE, text=True)


def test_two_processes_compute_once(tmp_path):
    go = tmp_path / "go"
    first = slow(tmp_path / "runs", go)
    assert first.stdout.readline() == "at work\n"
    second = slow(tmp_path / "runs", go)
    assert second.stdout.readline().startswith("waiting for another process that computes slow/")
    go.touch()
    assert [process.communicate(timeout=60)[0].strip() for process in (first, second)] == [str(first.pid)] * 2


def test_killed_while_writing_then_whole(tmp_path):
    process = slow(tmp_path, tmp_path / "never")
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGKILL); process.communicate()
    assert list(Store(tmp_path).entries()) == [] and list(tmp_path.rglob("a.txt"))
    process = slow(tmp_path, tmp_path)
    assert process.communicate(timeout=60)[0].split() == ["at", "work", str(process.pid)]
    entry, = Store(tmp_path).entries()
    assert (entry.path / "a.txt").read_text() == "whole" and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "add", "record"])
def test_damage_is_named_and_made_again(tmp_path, damage):
    def make(part): (part / "sub").mkdir(); (part / "sub" / "a.bin").write_bytes(bytes(range(200))); return {}
    store = Store(tmp_path)
    path = store.fetch("x", {"n": 1}, make).path
    file = path / "sub" / "a.bin"
    if damage == "cut": file.write_bytes(file.read_bytes()[:50])
    if damage == "flip": file.write_bytes(b"\xff" + file.read_bytes()[1:])
    if damage == "remove": file.unlink()
    if damage == "add": (path / "sub" / "b.bin").touch()
    if damage == "record": (path / "record.json").write_text('{"files"')
    name = {"add": "b.bin", "record": "record.json"}.get(damage, "a.bin")
    with pytest.warns(UserWarning, match=f"{name} was cut short or altered"): entry = store.fetch("x", {"n": 1}, make)
    assert (entry.path / "sub" / "a.bin").read_bytes() == bytes(range(200))


def test_a_damaged_network_and_mask_are_made_again_with_the_same_numbers(tmp_path):
    study = lambda: Study(
        "smoke",
        settings={"train.epochs": 1, "mask.epochs": 1, "data.n_train": 100, "data.n_val": 50},
        store=Store(tmp_path),
        progress=False,
    )
    mask = study().dataset_mask("natural").masks
    weights = next(tmp_path.glob("network/*/network.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-7])
    chunk = next(p for p in tmp_path.glob("dataset_mask/*/masks.zarr/mask/c/**/*") if p.is_file())
    chunk.write_bytes(b"\0" + chunk.read_bytes()[1:])
    with pytest.warns(UserWarning, match="cut short or altered"): again = study().dataset_mask("natural").masks
    assert torch.equal(again, mask)


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be written"): check_folder(tmp_path / "file" / "runs")
    with pytest.raises(OSError, match="MB of free space"): check_folder(tmp_path, 1e12)


def test_what_is_stored_can_run_nothing(tmp_path):
    Study(
        "smoke",
        settings={"train.epochs": 1, "mask.epochs": 1, "data.n_train": 100, "data.n_val": 50},
        store=Store(tmp_path),
        progress=False,
    ).dataset_mask("natural")
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"]
    for path in files:
        if path.suffix == ".json": json.loads(path.read_text())
        else: assert path.suffix == ".safetensors" or "/c/" in path.as_posix() or path.parent.name == "c", path
    # neither pickle nor a zip of one
    assert not any(b"\x80\x04\x95" in p.read_bytes()[:16] or p.read_bytes()[:2] == b"PK" for p in files)


def test_the_lock_is_gone_with_its_process(tmp_path):
    process = slow(tmp_path, tmp_path / "never")
    process.stdout.readline()
    process.kill(); process.communicate()
    began = time.monotonic()
    Store(tmp_path).fetch("slow", {"n": 1}, lambda part: {})
    assert time.monotonic() - began < 5


def test_a_resumable_maker_finds_what_it_left_and_another_does_not(tmp_path):
    def make(part):
        seen.append((part / "half.txt").exists())
        (part / "half.txt").write_text("1")
        if len(seen) == 1: raise KeyboardInterrupt
        return {}

    for resume in (True, False):
        seen = []
        store = Store(tmp_path / str(resume))
        with pytest.raises(KeyboardInterrupt): store.fetch("x", {"n": 1}, make, resume=resume)
        assert list(store.entries()) == []
        assert store.fetch("x", {"n": 1}, make, resume=resume).record["files"].keys() == {"half.txt"}
        assert seen == [False, resume]
        assert not list(tmp_path.rglob("*.part"))
