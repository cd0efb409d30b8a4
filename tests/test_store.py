"The store under damage, concurrency and sudden death, in real processes; and what a study makes of it."
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from fourier_mask import cli, mask_folder
from fourier_mask import store as store_page
from fourier_mask import study as study_page
from fourier_mask.device import threads
from fourier_mask.files import sealed
from fourier_mask.mask_folder import MadeOtherwise
from fourier_mask.profiles import load_profile
from fourier_mask.record import origin
from fourier_mask.settings import DatasetMaskSettings, ImageMaskSettings
from fourier_mask.shards import open_masks
from fourier_mask.store import Store, check_folder, checksums
from fourier_mask.study import Selection, Study, name_of_changes
from fourier_mask.train import TrainSettings, new_network

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


def numbers(part):
    (part / "sub").mkdir()
    (part / "sub" / "a.bin").write_bytes(bytes(range(200)))
    return {"mean": 2}


def edited(path, change):
    "Alter a record as an editor would."
    record = json.loads((path / "record.json").read_text())
    (path / "record.json").write_text(json.dumps(change(record)))


DAMAGES = {
    "cut": lambda path: (path / "sub" / "a.bin").write_bytes(bytes(range(50))),
    "flip": lambda path: (path / "sub" / "a.bin").write_bytes(b"\xff" + bytes(range(1, 200))),
    "remove": lambda path: (path / "sub" / "a.bin").unlink(),
    "add": lambda path: (path / "sub" / "b.bin").touch(),
    "half a record": lambda path: (path / "record.json").write_text('{"files"'),
    "no record": lambda path: (path / "record.json").unlink(),
    "a deep record": lambda path: (path / "record.json").write_text("[" * 100_000),
    "a list": lambda path: edited(path, lambda record: [record]),
    "files a list": lambda path: edited(path, lambda record: record | {"files": ["sub/a.bin"]}),
    "no files": lambda path: edited(path, lambda record: record | {"files": {}}),
    "no result": lambda path: edited(path, lambda record: {k: v for k, v in record.items() if k != "result"}),
    "another result": lambda path: edited(path, lambda record: record | {"result": {"mean": 3}}),
    "no checksum": lambda path: edited(path, lambda record: {k: v for k, v in record.items() if k != "checksum"}),
}
NAMED = {"cut": "a.bin", "flip": "a.bin", "remove": "a.bin", "add": "b.bin"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_made_again_and_put_aside(tmp_path, damage):
    store = Store(tmp_path)
    path = store.fetch("x", {"n": 1}, numbers).path
    DAMAGES[damage](path)
    before = checksums(path)
    with pytest.warns(UserWarning, match=rf"{NAMED.get(damage, 'record.json')} (was cut|is missing|has no checksum)"):
        entry = store.fetch("x", {"n": 1}, numbers)
    assert (entry.path / "sub" / "a.bin").read_bytes() == bytes(range(200)) and entry.record["result"] == {"mean": 2}
    assert checksums(path.with_name(f"{path.name}.damaged-1")) == before  # renamed, and nothing of it lost


def test_exchanged_results_are_noticed_both(tmp_path):
    store = Store(tmp_path)
    paths = [store.fetch("x", {"n": n}, lambda part, n=n: {"mean": n}).path for n in (1, 2)]
    paths[0].rename(tmp_path / "x" / "between")
    paths[1].rename(paths[0])
    (tmp_path / "x" / "between").rename(paths[1])
    for n in (1, 2):
        with pytest.warns(UserWarning, match=f"made from other settings, and belongs at x/{paths[2 - n].name}"):
            assert store.fetch("x", {"n": n}, lambda part, n=n: {"mean": n}).record["result"] == {"mean": n}
    assert {p.suffix for p in (tmp_path / "x").iterdir()} == {"", ".lock", ".damaged-1"}


@pytest.mark.parametrize("what", ["file", "link to nothing", "link to a file"])
def test_what_is_no_folder_is_put_aside(tmp_path, what):
    store = Store(tmp_path / "runs")
    path = store.path("x", {"n": 1})
    path.parent.mkdir(parents=True)
    (tmp_path / "mine").write_text("mine")
    if what == "file": path.write_text("mine")
    else: path.symlink_to(tmp_path / ("mine" if what == "link to a file" else "nowhere"))
    with pytest.warns(UserWarning, match="must be a folder|is a link to nothing"):
        assert store.fetch("x", {"n": 1}, numbers).record["result"] == {"mean": 2}
    assert (tmp_path / "mine").read_text() == "mine" and path.with_name(f"{path.name}.damaged-1").is_symlink() != (
        what == "file")


@pytest.mark.parametrize("resume", [True, False])
def test_half_made_results_that_lead_elsewhere_are_not_followed(tmp_path, resume):
    store, others = Store(tmp_path / "runs"), tmp_path / "others"
    others.mkdir()
    (others / "mine.txt").write_text("mine")
    path = store.path("x", {"n": 1})
    path.parent.mkdir(parents=True)
    path.with_suffix(".part").symlink_to(others)
    with pytest.warns(UserWarning, match="must be a folder, and is a file or a link"):
        store.fetch("x", {"n": 1}, numbers, resume=resume)
    assert [p.name for p in others.iterdir()] == ["mine.txt"]


def test_what_was_made_from_something_else_is_made_again(tmp_path):
    "A network that was trained again elsewhere has the same settings and other weights."
    store, made = Store(tmp_path), []

    def network(weights): return lambda part: (part / "weights").write_text(weights) and {}

    def mask(): return store.fetch("mask", {"of": "network"}, lambda part: made.append(1) or {}, made_from=known)

    def known(): return {"network": files} if (files := store.files_of("network", {})) else {}

    path = store.fetch("network", {}, network("1")).path
    mask(), mask()
    assert len(made) == 1
    path.rename(tmp_path / "away")
    mask()
    assert len(made) == 1  # nothing there to compare with
    store.fetch("network", {}, network("2"))
    with pytest.warns(UserWarning, match="was made with another network than the one that is in the store"): mask()
    assert len(made) == 2


def test_what_is_finished_is_read_without_writing(tmp_path, monkeypatch):
    store = Store(tmp_path)
    path = store.fetch("x", {"n": 1}, numbers).path
    path.with_suffix(".lock").unlink()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert store.fetch("x", {"n": 1}, numbers).record["result"] == {"mean": 2} and len(list(store.entries())) == 1
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_a_disk_that_cannot_be_read_is_no_damage(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.fetch("x", {"n": 1}, numbers)

    def fails(path): raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(store_page, "sha256_of", fails)
    with pytest.raises(OSError, match="Input/output error"): store.fetch("x", {"n": 1}, numbers)
    monkeypatch.undo()
    assert len(list(store.entries())) == 1 and not list(tmp_path.rglob("*.damaged*"))


@pytest.mark.parametrize("record", [{}, {"kind": "x", "settings": {}}, {"files": []}])
def test_a_record_of_another_version_is_put_aside(tmp_path, record):
    store = Store(tmp_path)
    path = store.fetch("x", {"n": 1}, numbers).path
    (path / "record.json").write_text(json.dumps(sealed(record)))
    with pytest.warns(UserWarning, match="is of another version: it lacks"): store.fetch("x", {"n": 1}, numbers)
    assert len(list(store.entries())) == 1


def test_what_became_another_while_it_was_used_is_not_vouched_for(tmp_path):
    files = iter("aaab")  # asked twice when it is looked for, before it is made, and after
    with pytest.raises(RuntimeError, match="network became another while"):
        Store(tmp_path).fetch("x", {"n": 1}, numbers, made_from=lambda: {"network": next(files, "b")})
    assert not list(Store(tmp_path).entries())


def test_a_finished_result_can_be_read_by_whoever_may_read_its_record(tmp_path):
    def make(part):
        save_file({"a": torch.ones(1)}, part / "a.safetensors")
        return {}

    path = Store(tmp_path).fetch("x", {"n": 1}, make).path
    assert (path / "a.safetensors").stat().st_mode == (path / "record.json").stat().st_mode


def test_others_files_in_the_store_are_left_alone(tmp_path):
    (tmp_path / "my photos" / "0123456789abcdef").mkdir(parents=True)
    (tmp_path / "my photos" / "deadbeefdeadbeef").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert not list(Store(tmp_path).mend()) and sorted(tmp_path.rglob("*")) == before


def test_a_pipe_in_a_result_is_noticed(tmp_path):
    path = Store(tmp_path).fetch("x", {"n": 1}, numbers).path
    os.mkfifo(path / "pipe")
    with pytest.warns(UserWarning, match="pipe was cut short or altered"): Store(tmp_path).fetch("x", {"n": 1}, numbers)


def test_the_store_is_listed_and_mended(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOURIER_MASK_RUNS", str(tmp_path))
    paths = [Store().fetch("x", {"n": n}, numbers).path for n in (1, 2)]
    (tmp_path / "x" / "notes").mkdir()  # not ours
    assert CliRunner().invoke(cli.app, ["store"]).exit_code == 0
    DAMAGES["another result"](paths[0])
    found = CliRunner().invoke(cli.app, ["store"])
    assert found.exit_code == 1 and f"x/{paths[0].name}  damaged: " in found.output and paths[0].is_dir()
    mended = CliRunner().invoke(cli.app, ["store", "--mend"])
    assert mended.exit_code == 0 and f"put aside: {paths[0]}.damaged-1" in mended.output
    again = CliRunner().invoke(cli.app, ["store"])
    assert again.exit_code == 0 and paths[0].name not in again.output and (tmp_path / "x" / "notes").is_dir()


@pytest.mark.filterwarnings("ignore:.*had not settled")  # so few steps settle none
def test_a_damaged_network_and_mask_are_made_again_with_the_same_numbers(tmp_path):
    study = lambda: Study(
        "smoke",
        settings={"train.epochs": 1, "mask.steps": 1, "data.n_train": 100, "data.n_val": 50},
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


@pytest.mark.filterwarnings("ignore:.*had not settled")  # so few steps settle none
def test_what_is_stored_can_run_nothing(tmp_path):
    Study(
        "smoke",
        settings={"train.epochs": 1, "mask.steps": 1, "data.n_train": 100, "data.n_val": 50},
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


class Given(Study):
    "A study whose network and selection are at hand, so that masks of single images cost nothing else."

    weights = 0  # seed of the network's

    def network(self, regime):
        torch.manual_seed(self.weights)
        return new_network(self.data, TrainSettings(width=0.125)).eval()

    def selection(self):
        x = self.data.val.images[:6]
        return Selection(x, self.data.val.labels[:6], torch.arange(6), x, 6, 6)


def given(folder, weights=0):
    settings = {"data.n_train": 10, "data.n_val": 10, "image.shard_size": 2}
    study = Given("smoke", settings=settings, store=Store(folder), progress=False)
    study.weights = weights
    return study


@contextmanager
def stopped(monkeypatch, error, shards):
    "Raise something in place of writing one shard more."
    left, write = list(range(shards)), mask_folder.write_shard

    def limited(*arguments):
        if not left: raise error
        left.pop()
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(mask_folder, "write_shard", limited)
        yield


def shards(folder):
    path, = folder.glob("image_masks/*/masks.zarr")
    return path, open_masks(path)["written"].to_numpy().tolist()


def test_masks_of_single_images_go_on_where_a_run_was_cut_short(tmp_path, monkeypatch):
    with stopped(monkeypatch, KeyboardInterrupt(), 1), pytest.raises(KeyboardInterrupt):
        given(tmp_path / "cut").image_masks("natural")
    assert shards(tmp_path / "cut")[1] == [True] * 2 + [False] * 4
    times = [p.stat().st_mtime_ns for p in (shards(tmp_path / "cut")[0] / "mask" / "c").glob("0/0/0/0")]
    entries = [given(tmp_path / name).entry("image_masks:natural").path for name in ("cut", "calm")]
    assert [p.stat().st_mtime_ns for p in (entries[0] / "masks.zarr" / "mask" / "c").glob("0/0/0/0")] == times
    assert checksums(entries[0]) == checksums(entries[1])  # nothing else is there, no second lock
    left = {p.name for p in (tmp_path / "cut" / "image_masks").iterdir()}
    assert left == {entries[0].name, f"{entries[0].name}.lock"}


def test_a_folder_that_says_nothing_of_itself_costs_no_shard_and_is_no_part_of_the_result(tmp_path, monkeypatch):
    calm = given(tmp_path / "calm").entry("image_masks:natural")
    path = given(tmp_path / "cut").entry("image_masks:natural").path
    (path / "masks.zarr" / "zarr.json").write_text("?")
    monkeypatch.setattr(mask_folder, "learn_shard", lambda *given: pytest.fail("learned again"))
    with pytest.warns(UserWarning, match="zarr.json was cut short or altered|It is kept as"):
        entry = given(tmp_path / "cut").entry("image_masks:natural")
    assert entry.record["files"] == calm.record["files"]
    assert path.with_name(f"{path.name}.masks.zarr.damaged-1").is_dir()


def test_only_masks_made_otherwise_are_begun_again(tmp_path, monkeypatch):
    "A mistake on the way costs no shard; those of another network are of no use."
    for more in (1, 1, 0):  # from the second time on there are shards of an earlier run
        with stopped(monkeypatch, ValueError("a mistake"), more), pytest.raises(ValueError, match="a mistake"):
            given(tmp_path).image_masks("natural")
    assert shards(tmp_path)[1] == [True] * 4 + [False] * 2
    with pytest.warns(UserWarning, match="its masks were made otherwise, network is .* Beginning again"):
        again = given(tmp_path, weights=1).image_masks("natural")
    assert torch.equal(again.masks, given(tmp_path / "calm", weights=1).image_masks("natural").masks)


def test_a_mistake_in_the_folder_is_no_reason_to_begin_again(tmp_path, monkeypatch):
    study, calls = given(tmp_path), []

    def refuse(*arguments):
        calls.append(arguments)
        raise kind("no")

    monkeypatch.setattr(study_page, "fill", refuse)
    (part := tmp_path / "part" / "masks.zarr").mkdir(parents=True)
    kind = ValueError
    with pytest.raises(ValueError, match="no"): study_page.make_image_masks(study, "image_masks:natural", part.parent)
    assert part.is_dir() and len(calls) == 1
    kind = lambda word: MadeOtherwise(part, word)
    with pytest.warns(UserWarning, match="Beginning again"), pytest.raises(MadeOtherwise):
        study_page.make_image_masks(study, "image_masks:natural", part.parent)
    assert not part.exists() and len(calls) == 3


def test_what_changes_no_mask_is_in_no_key(tmp_path):
    plain = Study("smoke", store=Store(tmp_path), progress=False)
    for changes in ({"image.batch_size": 8}, {"image.shard_size": 8}, {"need_mb": 1}, {"mask.seed": 31}, {"mask.p": 1}):
        assert plain.variant(changes).key("image_masks:natural") == plain.key("image_masks:natural"), changes
        assert plain.variant(changes).key("dataset_mask:natural") == plain.key("dataset_mask:natural"), changes
    for need, changes in (("image_masks:natural", {"image.weight": 0.1}), ("dataset_mask:natural", {"mask.steps": 3}),
                          ("class_masks:natural", {"mask.starts": 2}), ("image_masks:natural", {"image.n": 7})):
        assert plain.variant(changes).key(need) != plain.key(need), changes


def test_a_studys_settings_are_the_learners_and_its_seed(tmp_path):
    study = Study("smoke", seed=5, settings={"image.seed": 7, "mask.weight": 1}, store=Store(tmp_path), progress=False)
    assert study.mask_settings("class_masks") == DatasetMaskSettings(weight=1.0, seed=5)
    assert study.mask_settings("attacked_masks") == ImageMaskSettings(seed=7)


@pytest.mark.parametrize("changes", [
    {"mask.steps": True}, {"mask.steps": "3"}, {"mask.steps": 2.0}, {"mask.weight": "0.1"}, {"mask.weight": False},
    {"image.n": True}, {"image.batch_size": "8"}, {"data.n_val": True}, {"need_mb": "1"}, {"train.width": True},
    {"train.epochs": True}, {"train.epochs": {"natural": True}}, {"train.epochs": "3"}, {"train.compile": 1},
    {"train.attack.eval_steps": "5"}, {"data.path": 3}, {"mask.schedule": True},
])
def test_a_setting_of_another_kind_is_refused_by_name(changes):
    name, = changes
    with pytest.raises(ValueError, match=f"setting {name}.* is not allowed"): load_profile("smoke", changes)


@pytest.mark.filterwarnings("ignore:.*had not settled")  # so few steps settle none
def test_several_starts_are_kept_best_first(tmp_path):
    settings = {"train.epochs": 1, "mask.steps": 4, "mask.starts": 2, "data.n_train": 100, "data.n_val": 50}
    study = Study("smoke", settings=settings, store=Store(tmp_path), progress=False)
    masks, classes = study.dataset_mask("natural"), study.class_masks("natural")
    assert len(masks) == 2 and masks.objective[0] <= masks.objective[1]
    assert classes.labels.tolist() == [c for c in range(5) for _ in range(2)]
    kept = (study.logits("natural").argmax(1) == study.logits("natural", masked=True).argmax(1)).float().mean()
    assert kept.item() == pytest.approx(masks.prediction_kept[0].item())


@pytest.mark.parametrize("asked", ["4,2", "", "many"])
def test_threads_are_those_that_compute_whatever_the_environment_says(tmp_path, monkeypatch, asked):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    study = Study("smoke", store=Store(tmp_path), progress=False)
    assert origin(study, time.monotonic())["threads"] == threads() == torch.get_num_threads()


def test_threads_are_part_of_what_is_asked_for(tmp_path, monkeypatch):
    study = Study("smoke", store=Store(tmp_path), progress=False)
    for need in ("network:natural", "dataset_mask:natural", "selection:natural", "image_masks:natural"):
        assert study.variant({"threads": 2}).key(need) != study.key(need)
    seen = []
    make = lambda *given: seen.append(threads()) or study_page.made_on(study)
    monkeypatch.setitem(study_page.MAKERS, "network", make)
    before = threads()
    for count in (1, 2): study.variant({"threads": count}).entry("network:natural")
    assert seen == [1, 2] and threads() == before


@pytest.mark.parametrize("changes", [{"a": "../../b"}, {"a": "x" * 999}, {"a": {"b": "/"}}, {"a": "é/\n"}, {"a": ".."}])
def test_a_folders_name_leads_nowhere(changes):
    name = name_of_changes(changes)
    assert re.fullmatch(r"a=[A-Za-z0-9_.,=+ -]*", name) and len(name) <= 100
    assert name != name_of_changes({"a": "something else"}) and name_of_changes({}) == ""


@pytest.mark.parametrize("seed", [2**63, 2**64, -1, True, 1.0])
def test_what_is_no_seed_is_refused(seed, annotations_off):
    with pytest.raises(ValueError, match="seed must be"): Study("smoke", seed=seed, progress=False)
