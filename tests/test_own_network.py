"The command line for networks of one's own: learned, gone on with, refused, shown, compared."
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from test_imagenette import original  # noqa: F401  (fixture)

from fourier_mask import cli, doctor, own_masks, pictures
from fourier_mask.diagnosis import diagnose
from fourier_mask.learn import learn_image_masks
from fourier_mask.mask_set import MaskSet
from fourier_mask.models import Normalized, save_checkpoint
from fourier_mask.own_network import Picked, network_of
from fourier_mask.shards import open_masks
from fourier_mask.store import Store, checksums

NETS = """
import time

import torch
from torch import nn


def build(seed=1):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 8 * 8, 3)
    network = nn.Sequential(*layers)
    network[-1].weight.data *= 8
    return network


def other(): return build(2)


class Told(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = build()

    def forward(self, x): return {"logits": self.network(x), "hidden": x}


class Slow(Told):
    def forward(self, x):
        time.sleep(0.05)
        return self.network(x)


def plain():
    network = build()
    return lambda x: network(x)


def broken(): return 1 / 0


def nothing(): return None


PLACE = 3
"""
OWN = "--model", "own_nets:build", "--size", "8", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"
COMMAND = [f"{sys.prefix}/bin/fourier-mask"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    "A folder in which one works: a file of networks, a folder of photographs in all sizes, two classes."
    here, random = tmp_path / "here", np.random.default_rng(0)
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    Path("own_nets.py").write_text(NETS)
    for i in range(6):
        file = Path("photos") / ("cat", "dog")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(256, size=(9 + i, 12, 3), dtype=np.uint8)).save(file)
    yield here
    sys.modules.pop("own_nets", None)


@pytest.fixture
def fm(monkeypatch, capsys):
    "Call `fourier-mask` in this process: exit code, standard output, standard error."
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["fourier-mask", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop: cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return call


def learn(fm, out, *words, network=OWN): return fm("learn", *network, "--data", "photos", "--out", out, *words)


def images(n=6):
    "The photographs as the network takes them, read without the page under test."
    files = sorted(Path("photos").rglob("*.png"))[:n]
    made = []
    for file in files:
        picture = torchvision.transforms.v2.functional.resize(
            Image.open(file), [8], torchvision.transforms.InterpolationMode.BICUBIC
        )
        made.append(torchvision.transforms.v2.functional.pil_to_tensor(
            torchvision.transforms.v2.functional.center_crop(picture, [8, 8])).float() / 255)
    return torch.stack(made)


# learn

def test_masks_of_images_are_those_of_the_library(place, fm):
    code, out, err = learn(fm, "a.zarr")
    assert code == 0 and out.startswith("6 masks, mean size") and out.count("\n") == 1, err
    assert "own_nets:build is your own code" in err
    import own_nets
    network = Normalized(own_nets.build(), [0.5] * 3, [0.25] * 3)
    direct, found = learn_image_masks(network, images(), progress=False), MaskSet.load("a.zarr")
    assert torch.equal(found.masks, direct.masks) and found.index.tolist() == list(range(6))
    code, out, _ = learn(fm, "b.zarr", "--n", "4", "--json", "--weight", "0.01")
    told = json.loads(out)
    assert code == 0 and told["masks"] == told["of"] == 4 and told["folder"] == "b.zarr"
    assert told["sparsity"] == pytest.approx(MaskSet.load("b.zarr").sparsity.mean().item(), rel=1e-5)


@pytest.mark.parametrize("per", ["class", "dataset"])
def test_masks_of_classes_and_data_sets(place, fm, per):
    assert learn(fm, "a.zarr", "--per", per)[0] == 0
    masks = MaskSet.load("a.zarr")
    import own_nets
    with torch.no_grad(): said = Normalized(own_nets.build(), [0.5] * 3, [0.25] * 3)(images()).argmax(1)
    assert masks.labels.tolist() == said.unique().tolist() if per == "class" else len(masks) == 1
    code, out, err = learn(fm, "a.zarr", "--per", per)  # is not replaced
    assert code == 2 and out == "" and "already there" in err
    assert learn(fm, "b.zarr", "--per", per, "--labels", "given", "--steps", "3")[0] == 0
    if per == "class": assert MaskSet.load("b.zarr").labels.tolist() == [0, 1]


def test_options_reach_the_learner(place, fm):
    told = "--part", "phase", "--form", "Rings", "--channels", "3", "--starts", "2", "--batch-size", "4", "--precision"
    assert learn(fm, "a.zarr", *told, "float32", "--threads", "1", "--steps", "5", "--n", "2")[0] == 0
    masks = MaskSet.load("a.zarr")
    assert masks.masks.shape == (2, 3, 8, 8) and masks.settings["starts"] == 2 and masks.settings["steps"] == 5
    assert masks.settings["part"]["name"] == "Phase" and masks.settings["form"]["name"] == "Rings"
    own = "--model", "own_nets:Told", "--size", "8", "--output-fn", "logits"
    assert learn(fm, "b.zarr", "--n", "2", network=own)[0] == 0
    assert learn(fm, "c.zarr", "--n", "2", network=("--model", "own_nets:plain", "--size", "8"))[0] == 0
    assert torch.equal(MaskSet.load("b.zarr").masks, MaskSet.load("c.zarr").masks)
    code, _, err = learn(fm, "d.zarr", network=(*own[:-1], "logit"))
    assert code == 2 and "'logit' is not in the model's result" in err and "logits" in err


def test_a_killed_learn_goes_on_where_it_was(place, environment):
    words = ["learn", "--model", "own_nets:Slow", "--size", "8", "--data", "photos", "--shard-size", "2", "--steps",
             "6", "--batch-size", "2", "--out"]
    process = subprocess.Popen([*COMMAND, *words, "a.zarr"], env=environment, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (written := shards_written()) and time.monotonic() < end and process.poll() is None: time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = shards_written()
    assert 0 < written < 6
    before = {path: path.stat().st_mtime_ns for path in Path("a.zarr/mask/c/0").rglob("*") if path.is_file()}
    result = subprocess.run([*COMMAND, *words, "a.zarr"], env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and result.stdout.startswith("6 masks"), result.stderr
    assert before and all(path.stat().st_mtime_ns == when for path, when in before.items())  # was not learned again
    assert not {"\x1b", "\r"} & {*result.stdout, *result.stderr}  # plain where nothing is a terminal
    whole = subprocess.run([*COMMAND, *words, "b.zarr"], env=environment, capture_output=True, text=True, timeout=120)
    assert whole.returncode == 0 and checksums(Path("a.zarr")) == checksums(Path("b.zarr"))


def shards_written():
    try: return int(open_masks("a.zarr")["written"].sum())
    except (OSError, ValueError): return 0


def test_a_stop_says_that_the_same_command_goes_on(place, fm, monkeypatch):
    def stopped(*given, **named): raise KeyboardInterrupt

    monkeypatch.setattr("fourier_mask.own_commands.learn_into", stopped)
    code, out, err = learn(fm, "a.zarr")
    assert code == 130 and out == "" and "what is in a.zarr is kept, and the same command goes on" in err
    code, _, err = learn(fm, "a.zarr", "--per", "class")
    assert code == 130 and "nothing was written" in err


def test_other_settings_networks_and_images_are_refused_with_the_difference(place, fm):
    assert learn(fm, "a.zarr")[0] == 0
    before = checksums(Path("a.zarr"))
    for words, network, told in (
        (("--weight", "0.2"), OWN, "weight is 0.07 there and 0.2 here"),
        (("--form", "Rings"), OWN, "form.name is 'Free' there and 'Rings' here"),
        ((), (OWN[0], "own_nets:other", *OWN[2:]), "network is "),
        ((), (*OWN[:-1], "1,1,1"), "center.std is [0.25, 0.25, 0.25] there and [1.0"),
        (("--n", "4"), OWN, "images must hold at least the 6 of which it has masks"),
        (("--labels", "given"), OWN, "images, labels or index 0 … 5 are not those"),
    ):
        code, out, err = learn(fm, "a.zarr", *words, network=network)
        assert code == 2 and out == "" and told in err.splitlines()[-1], err
    assert checksums(Path("a.zarr")) == before
    assert learn(fm, "a.zarr")[:1] == (0,) and checksums(Path("a.zarr")) == before


def test_a_dry_run_measures_and_writes_nothing(place, fm, tmp_path):
    before = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in str(path))
    code, out, _ = learn(fm, "a.zarr", "--dry-run")
    assert code == 0 and "6 images of 3 × 8 × 8" in out and out.endswith("nothing was written\n")
    cost = json.loads(learn(fm, "a.zarr", "--dry-run", "--json")[1])
    assert cost["images"] == 6 and cost["parameters"] == 4 * 27 + 4 + 3 * 256 + 3 and cost["batch_size"] == 6
    # masks and ten numbers for each, a shard's two checksums
    assert cost["bytes_on_disk"] == 6 * (8 * 8 * 4 + 4 * 8 + 5 * 4 + 1) + 64
    assert 0 < cost["seconds_a_pass"] and cost["seconds_low"] == pytest.approx(30 * cost["seconds_a_pass"])
    assert 4 * 64 * 4 * 6 < cost["bytes_a_batch"] < 1e6  # the activations of the first layer are among them
    assert sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in str(path)) == before


# bad input

@pytest.mark.parametrize(("model", "told"), [
    ("timm:resnet81", "timm:resnet81 is not known; .* Did you mean timm:resnet18"),
    ("timm:resnet18.a1_in2k", "Did you mean timm:resnet18.a1_in1k"),
    ("torchvision:resnet81", "Did you mean torchvision:resnet18"),
    ("resnet18", "model must be timm:NAME, torchvision:NAME or package.module:function; got 'resnet18'"),
    ("timm:", "model must be timm:NAME"),
    ("own_nets:biuld", "module own_nets has no biuld. Did you mean build?"),
    ("own_net:build", "there is no module own_net in this folder"),
    ("own_nets:broken", r"fails in its own code \(ZeroDivisionError: division by zero, own_nets.py line \d+\)"),
    ("own_nets:nothing", "must return a network, or a function of images; it returned None"),
    ("own_nets:PLACE", "must be a function; it is 3"),
])
def test_names_that_are_none(place, model, told):
    with pytest.raises(ValueError, match=told): network_of(model)


def test_weights_that_cannot_be_fetched_are_told_in_a_line(place, environment):
    env = environment | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hub"), "TORCH_HOME": str(place / "hub")}
    words = ["learn", "--model", "timm:test_resnet", "--data", "photos", "--out", "a.zarr"]
    result = subprocess.run([*COMMAND, *words], env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1, result.stderr
    assert "weights of timm:test_resnet are not to be had here" in result.stderr and "--checkpoint" in result.stderr


def test_checkpoints_that_do_not_do(place, fm):
    import timm
    network = timm.create_model("test_resnet")
    save_checkpoint(network, "m.safetensors")
    save_checkpoint(timm.create_model("test_vit"), "vit.safetensors")
    torch.save(network.state_dict(), "m.pth")
    ruined = {name: value.clone() for name, value in network.state_dict().items()}
    ruined["fc.bias"][0] = math.nan
    save_file(ruined, "nan.safetensors")
    for checkpoint, told in (("vit.safetensors", "holds weights of another network: "),
                             ("m.pth", "is a pickle, which can run code"),
                             ("no.safetensors", "checkpoint no.safetensors is no file"),
                             ("nan.safetensors", "nan or infinite in 1 of its tensors (fc.bias)")):
        code, out, err = learn(fm, "a.zarr", network=("--model", "timm:test_resnet", "--checkpoint", checkpoint))
        assert code == 2 and out == "" and told in err and err.count("\n") == 1, err
    code, _, err = learn(fm, "a.zarr", network=("--model", "own_nets:plain", "--checkpoint", "m.safetensors"))
    assert code == 2 and "checkpoint is for a network" in err
    made = network_of("timm:test_resnet", "m.safetensors")
    assert isinstance(made, Normalized) and made.reading.size == (160, 160)
    assert torch.equal(made.model.state_dict()["fc.weight"], network.state_dict()["fc.weight"])
    assert not Path("a.zarr").exists()


def test_heads_sizes_and_centring(place):
    for spec, given, told in (
        ("timm:test_resnet", dict(classes=5), "classes=5 is for .* Give a checkpoint"),
        ("own_nets:build", dict(classes=5), "Let the function build it"),
        ("own_nets:build", dict(mean=[0.5]), "mean and std must be given together"),
        ("own_nets:plain", dict(mean=[0.5], std=[1.0]), "a function centres"),
        ("own_nets:build", dict(grey=True), "grey is said of a size"),
    ):
        with pytest.raises(ValueError, match=told): network_of(spec, **given)
    x = torch.rand(2, 3, 8, 8)
    made = network_of("own_nets:build", mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 4.0], size=(8, 8))
    by_hand = (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    torch.testing.assert_close(made(x), made.model(by_hand))
    assert Picked("1")((None, x)) is x


def test_folders_and_files_that_do_not_do(place, fm):
    Path("empty").mkdir()
    for data, told in (("empty", "holds no image"), ("nowhere", "is no folder")):
        code, out, err = fm("learn", *OWN, "--data", data, "--out", "a.zarr")
        assert code == 2 and out == "" and told in err.splitlines()[-1]
    assert learn(fm, "a.zarr", network=("--model", "own_nets:build"))[2].splitlines()[-1].startswith(
        "fourier-mask: size must be given for this network")
    Path("photos/cat/2.png").write_bytes(b"broken")
    code, out, err = learn(fm, "a.zarr")
    assert code == 2 and out == "" and "1 of 6 images in photos cannot be read: cat/2.png." in err
    assert "--skip-broken" in err and not Path("a.zarr").exists()
    assert learn(fm, "b.zarr", "--n", "1")[0] == 0  # what is not asked for is not tried
    code, out, err = learn(fm, "a.zarr", "--skip-broken")
    assert code == 0 and out.startswith("5 masks")
    assert "warning: 1 of 6 images in photos cannot be read and are left out: cat/2.png." in err


def test_a_disk_that_would_fill_is_refused_before_the_work(place, fm, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(own_masks.shutil, "disk_usage", lambda path: usage(10**6, 0, 1000))
    code, out, err = learn(fm, "a.zarr")
    assert code == 2 and out == "" and "out a.zarr may need 1.92 kB, and 1 kB are free" in err
    assert not Path("a.zarr").exists()


@pytest.mark.parametrize(("words", "told"), [
    (("--per", "imgae"), "per 'imgae' is not known; there are image, class, dataset. Did you mean 'image'"),
    (("--labels", "mine"), "labels must be"), (("--goal", "kep"), "goal must be one of"),
    (("--part", "phases"), "part must be one of"), (("--basis", "fuorier"), "basis"), (("--form", "rings"), "form"),
    (("--loss", "cross"), "loss must be one of"), (("--weight", "-1"), "weight = -1"), (("--starts", "0"), "starts"),
    (("--precision", "half"), "precision = 'half'"), (("--batch-size", "0"), "batch_size must"), (("--n", "0"), "n "),
    (("--threads", "0"), "threads must"), (("--shard-size", "0"), "shard_size must"), (("--weight", "a"), "--weight"),
    (("--size", "8x"), "--size must be numbers"), (("--mean", "a"), "--mean must be numbers"), (("--frob",), "--frob"),
    (("--device", "gpu"), "device 'gpu' is not to be had here"), (("--channels", "2"), "channels must be 1 or 3"),
])
def test_options_that_do_not_do(place, fm, words, told):
    code, out, err = learn(fm, "a.zarr", *words)
    assert code == 2 and out == "" and told in err.splitlines()[-1], err
    assert "Traceback" not in err and not (Path("a.zarr").exists() and open_masks("a.zarr")["written"].any())


# show and compare

@pytest.fixture
def two(place, fm):
    "Masks of the same images by two networks."
    for name, network in (("a.zarr", "build"), ("b.zarr", "other")):
        assert learn(fm, name, "--weight", "0.005", network=(OWN[0], f"own_nets:{network}", *OWN[2:]))[0] == 0
    return MaskSet.load("a.zarr"), MaskSet.load("b.zarr")


def energies(masks, rings):
    "Energy in rings, by numpy and from the definition: the norm of what lies in a ring, of a mask of unit norm."
    planes = masks.masks.double().mean(1).numpy()
    v, u = np.meshgrid(np.fft.fftfreq(8), np.fft.fftfreq(8), indexing="ij")
    ring = np.minimum((np.hypot(v, u) / 0.5**0.5 * rings + 1e-9).astype(int), rings - 1)
    power = planes**2 / np.maximum((planes**2).sum((1, 2), keepdims=True), 1e-300)
    return np.sqrt(np.stack([(power * (ring == k)).sum((1, 2)) for k in range(rings)], 1))


def test_a_comparison_is_that_of_the_pairs(two, fm):
    code, out, _ = fm("compare", "a.zarr", "b.zarr", "--rings", "4", "--json")
    told = json.loads(out)
    rows = [row for row in told["differences"] if row["quantity"] == "energy"]
    shift = energies(two[1], 4) - energies(two[0], 4)
    spread = 1.96 * shift.std(0, ddof=1) / 6**0.5
    np.testing.assert_allclose([row["difference"] for row in rows], shift.mean(0), atol=1e-9)
    np.testing.assert_allclose([row["spread"] for row in rows], spread, atol=1e-9)
    size = next(row for row in told["differences"] if row["quantity"] == "size")
    moved = (two[1].masks - two[0].masks).double().mean((1, 2, 3)).numpy()
    assert size["difference"] == pytest.approx(moved.mean()) and size["pairs"] == 6
    sure = np.abs(shift.mean(0)) > spread
    largest = np.abs(shift.mean(0))[sure].max(initial=0)
    assert code == 0 and told["largest"] == pytest.approx(largest) and not told["failed"]
    assert fm("compare", "a.zarr", "a.zarr", "--fail-over", "0")[0] == 0
    for bound, wanted in ((largest / 2, 3), (largest * 2 + 0.01, 0)):
        assert fm("compare", "a.zarr", "b.zarr", "--rings", "4", "--fail-over", bound)[0] == (wanted if largest else 0)


def test_a_gate_fails_with_three(place, fm):
    low, high = torch.zeros(4, 1, 8, 8), torch.zeros(4, 1, 8, 8)
    low[..., 0, 0], high[..., 4, 4] = 1, 1
    for name, planes in (("low.zarr", low), ("high.zarr", high), ("one.zarr", high[:1])):
        n = len(planes)
        ones = torch.ones(n)
        MaskSet(planes, torch.arange(n), ones, ones, ones / 64, ones.long(), ones.bool(), ones,
                index=torch.arange(n)).save(name)
    code, out, err = fm("compare", "low.zarr", "high.zarr", "--fail-over", "0.5")
    assert code == 3 and "1.0000 is above --fail-over 0.5" in err and "4 pairs" in out
    code, out, _ = fm("compare", "low.zarr", "one.zarr", "--fail-over", "1.5")
    assert code == 0 and "1 pair, for which there is no interval" in out
    assert "largest difference of a ring's energy: 1.0000" in out
    for bound in ("-1", "nan"): assert fm("compare", "low.zarr", "high.zarr", "--fail-over", bound)[0] == 2


def test_sets_that_cannot_be_compared(two, fm):
    two[0][[0, 0]].save("twice.zarr")
    two[0][:2].save("first.zarr")
    two[1][3:].save("last.zarr")
    for words, name in ((("--part", "phase"), "phase"), (("--basis", "cosine"), "cosine"),
                        (("--channels", "3"), "wide"), (("--basis", "cosine", "--part", "filter"), "again")):
        assert learn(fm, f"{name}.zarr", "--n", "2", "--steps", "2", *words)[0] == 0
    for a, b, told in (("first", "last", "no index is in both"), ("first", "twice", "not known which belong together"),
                       ("first", "phase", "one part; it is Filter in one and Phase in the other"),
                       ("first", "cosine", "one basis; it is RealFourier in one and Cosine in the other"),
                       ("first", "wide", "masks of one shape"), ("cosine", "again", "in the Fourier basis"),
                       ("first", "nowhere", "nowhere.zarr")):
        code, out, err = fm("compare", f"{a}.zarr", f"{b}.zarr")
        assert code == 2 and out == "" and told in err and err.count("\n") == 1, err


def test_a_set_is_shown_with_its_numbers_and_pictures(two, fm, monkeypatch):
    code, out, _ = fm("show", "a.zarr", "--n", "3", "--json")
    told, masks = json.loads(out), two[0]
    assert code == 0 and len(told["rows"]) == 3 and told["masks"] == 6 and told["pictures"] == []
    v, u = np.meshgrid(np.fft.fftfreq(8), np.fft.fftfreq(8), indexing="ij")
    for i, row in enumerate(told["rows"]):
        power = masks.masks[i, 0].double().numpy() ** 2
        centroid = (power * np.hypot(v, u)).sum() / power.sum() if power.any() else None
        assert row["centroid_cyc"] == (None if centroid is None else pytest.approx(centroid, abs=1e-6))
        assert row["sparsity"] == pytest.approx(masks.masks[i].mean().item(), rel=1e-5) and row["index"] == i
    code, out, _ = fm("show", "a.zarr", "--out", "pictures", "--n", "3")
    assert code == 0 and "\x1b" not in out and {path.name for path in Path("pictures").iterdir()} == {
        "masks.png", "energy.png"}
    code, out, err = fm("show", "a.zarr", "--out", "pictures", "--data", "photos", *OWN)
    assert code == 0 and "own_nets:build is your own code" in err
    for name in ("masks", "energy", "filtered"):
        with Image.open(f"pictures/{name}.png") as picture: assert min(picture.size) > 100
    drawn = {}
    monkeypatch.setattr(own_masks, "plot_mask_set", lambda masks, x, model, most: drawn.update(rows=(masks, x, most))
                        or pictures.canvas(1, 1)[0])
    assert fm("show", "a.zarr", "--out", "pictures", "--data", "photos", "--n", "2", *OWN)[0] == 0
    shown, x, most = drawn["rows"]
    assert most == 2 and torch.equal(shown.masks, masks.masks[:2])
    torch.testing.assert_close(x, images(2), atol=1e-6, rtol=0)
    by_hand = torch.fft.ifft2(torch.fft.fft2((x - 0.5) / 0.25) * masks.masks[:2]).real * 0.25 + 0.5
    torch.testing.assert_close(shown.apply(x), by_hand, atol=1e-5, rtol=0)  # float32 transforms


def test_a_terminal_has_colours_and_a_pipe_has_none(two, fm, monkeypatch, capsys):
    plain = fm("show", "a.zarr", "--n", "2")[1]
    assert "\x1b" not in plain and "prediction_kept" in plain
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "80")): monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    drawn = fm("show", "a.zarr", "--n", "2")[1]
    assert "\x1b[" in drawn and max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", drawn).splitlines()[:5])) <= 80
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "100%" in learn(fm, "c.zarr", "--n", "2")[2] and "%" not in learn(fm, "c.zarr", "--n", "2", "--json")[1]


def test_what_cannot_be_shown(two, fm):
    assert learn(fm, "d.zarr", "--per", "dataset", "--steps", "2")[0] == 0
    shutil.copytree("photos/cat", "few/cat")
    with_images = "--out", "pictures", *OWN, "--data"
    for words, told in ((("nowhere.zarr",), "nowhere.zarr"), (("photos",), "photos"),
                        (("a.zarr", "--n", "0"), "--n must"),
                        (("a.zarr", "--data", "photos"), "--data is for pictures"),
                        (("d.zarr", *with_images, "photos"), "masks of single images"),
                        (("a.zarr", *with_images, "few"), "data holds 3 images, and these masks are of image")):
        code, out, err = fm("show", *words)
        assert code == 2 and out == "" and told in err.splitlines()[-1], err


# doctor

def test_the_doctor_says_what_there_is_and_what_is_wrong(fm, monkeypatch, tmp_path):
    code, out, _ = fm("doctor", "--json")
    told = json.loads(out)
    if not told["problems"]: assert code == 0
    assert told["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert told["store"]["path"] == str(tmp_path / "runs")
    assert told["machine"]["devices"][0] == "cpu" and not told["store"]["there"]
    path = Store().fetch("thing", {"n": 1}, lambda part: {"value": 1}).path
    (path / "record.json").write_text("{}")
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "timm" else doctor.version(name))
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    for words in ((), ("--full",)):
        code, out, _ = fm("doctor", *words)
        assert code == 1 and "1 of 1 results in the store are damaged" in out and "fourier-mask store --mend" in out
        assert "OMP_NUM_THREADS='many' is no number of threads" in out and "fourier_mask[imagenet]" in out
        assert "\x1b" not in out


def test_the_store_says_where_it_is(fm, tmp_path):
    code, out, _ = fm("store")
    assert code == 0 and out.startswith(f"store: {tmp_path / 'runs'}\nnothing is stored in")


# diagnose

def test_a_diagnosis_is_that_of_the_library_on_a_page(place, fm):
    assert learn(fm, "mask.zarr", "--per", "dataset", "--steps", "3")[0] == 0
    words = "diagnose", *OWN, "--data", "photos", "--labels", "given", "--only", "removal,filters", "--out", "page"
    code, out, err = fm(*words, "--masks", "mask.zarr", "--json")
    told = json.loads(out)
    assert code == 0 and told["page"] == "page/diagnosis.html" and told["left_out"] == {}, err
    names = {path.name for path in Path("page").iterdir()}
    assert names == {"diagnosis.html", *(f"{name}.{end}" for name in ("removal", "filters", "curves")
                                         for end in ("png", "csv"))}
    model = network_of("own_nets:build", mean=[0.5] * 3, std=[0.25] * 3, size=(8, 8))
    by_hand = diagnose({"own": model}, images(), torch.tensor([0] * 3 + [1] * 3), only=["filters"],
                       masks={"own": MaskSet.load("mask.zarr")})
    there = pd.DataFrame(told["curves"])
    for name in ("mask", "low pass"):  # the first ring of eight of 8 × 8 pixels is zero frequency alone
        assert there[name].tolist() == pytest.approx(by_hand.curves()[name].tolist(), nan_ok=True)
    assert fm(*words)[1].rstrip().endswith("page/diagnosis.html")


def test_what_cannot_be_asked_is_said_and_the_rest_is_asked(place, fm, annotations_off):
    words = "diagnose", "--model", "own_nets:plain", "--size", "8", "--data", "photos", "--out", "page"
    code, out, err = fm(*words, "--only", "layers,removal")
    assert code == 0 and "not asked: layers. model must be a network whose layers can be hooked" in err
    assert "ring removed" in out
    for wrong, told in (("wavs", "only must be a list of questions"), ("", "only must be"), ("layers", "hooked")):
        code, out, err = fm(*words[:-1], "none", "--only", wrong)
        assert code == 2 and told in err and not Path("none").exists() and not out


# examples

def test_every_example_of_every_help_runs_as_it_stands(place, fm, original, environment, monkeypatch):  # noqa: F811
    torch.manual_seed(0)
    save_checkpoint(torchvision.models.resnet18(num_classes=5), "weights.safetensors")
    shutil.copytree(original, "imagenette2-160")
    commands = {command.name or command.callback.__name__: command.epilog for command in cli.app.registered_commands}
    wanted = {"learn", "show", "compare", "diagnose", "doctor", "reproduce", "items", "report", "store", "data"}
    assert wanted <= commands.keys()
    for name, epilog in commands.items():
        assert fm(name, "--help")[1].split()[-1] == epilog.split()[-1]  # the help ends with it
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("learn", *(name for name in commands if name != "learn")):
        if name == "compare":
            for there in ("before.zarr", "after.zarr"): shutil.copytree("masks.zarr", there)
        start, words = commands[name].split(" ", 1)
        assert start == "Example:" and words.startswith(f"fourier-mask {name}")
        if name in ("reproduce", "report"): os.chdir(Path(cli.__file__).parents[1])
        code, _, err = fm(*shlex.split(words)[1:])
        os.chdir(place)
        assert code == 0, (words, err)
