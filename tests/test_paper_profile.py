"The paper's own profile from the command line, on a made-up Imagenette, small, for both architectures."
import json
import os
import re

import pytest
from test_imagenette import cut_short, original, source  # noqa: F401  (fixtures)
from test_reproduce import metrics, refused, run

from fourier_mask import cli
from fourier_mask.profiles import PROFILES
from fourier_mask.study import Study

SMALL = {
    "data.size": 32,
    "train.width": 0.125,
    "train.epochs": 1,
    "train.batch_size": 5,
    "train.attack.train_steps": 1,
    "train.attack.eval_steps": 1,
    "train.attack.eval_images": 5,
    "mask.steps": 2,
}


def test_it_is_the_papers():
    profile = PROFILES["paper"]
    train, attack = profile.train, profile.train.attack
    assert (profile.data.name, profile.data.size, train.width, train.batch_size, set(train.epochs.values())) == (
        "imagenette5",
        128,
        1,
        128,
        {50},
    )
    # ε on centred images
    assert attack.eps_255 / 255 / 0.226 == pytest.approx(0.06) and attack.eps_255 / attack.alpha_255 == pytest.approx(8)
    assert attack.train_steps == attack.eval_steps == 10
    assert (profile.mask.weight, profile.image.weight) == (0.2, 0.07)


def test_a_folder_is_decoded_once_and_both_networks_are_compared_with_the_paper(original, tmp_path):  # noqa: F811
    env = os.environ | {
        "FOURIER_MASK_RUNS": str(tmp_path / "runs"),
        "FOURIER_MASK_FIGURES": str(tmp_path / "figures"),
        "OMP_NUM_THREADS": "1",
    }
    result = run("data", "imagenette5", str(original), "--size", "32", env=env)
    assert (
        result.returncode == 0
        and "train: 15 images (3 English springer" in result.stdout
        and "val: 10 images" in result.stdout
        and "val: Imagenette itself has 1973 (395" in result.stdout
    ), result.stdout + result.stderr
    for architecture in ("vgg11", "resnet18"):
        changes = SMALL | {"train.architecture": architecture}
        words = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
        result = run("reproduce", "tab_01", "--profile", "paper", "--device", "cpu", *words, env=env)
        assert result.returncode == 0, result.stdout + result.stderr
        # put back by the fixture of all tests
        os.environ.update({name: env[name] for name in ("FOURIER_MASK_RUNS", "FOURIER_MASK_FIGURES")})
        record = metrics(Study("paper", settings=changes, progress=False).folder, "tab_01")
        assert record["device"] == "cpu"
        assert {value["verdict"] for value in record["values"] if value["paper"] is not None} <= {"match", "differs"}
        assert all(by["device"] == "cpu" for by in record["made_on"].values())
        assert record["settings"]["train.architecture"] == architecture
    assert len(list((tmp_path / "runs" / "network").glob("*/record.json"))) == 10


def test_what_cannot_be_decoded_is_told_in_one_line(monkeypatch, capsys, source, tmp_path):  # noqa: F811
    assert "data 'imagenet' is not known; there are imagenette5. Did you mean 'imagenette5'" in refused(
        monkeypatch, capsys, "data", "imagenet", str(source)
    )
    (tmp_path / "runs" / "train").mkdir(parents=True)
    assert "train lacks English springer (n02102040)" in refused(
        monkeypatch, capsys, "data", "imagenette5", str(tmp_path / "runs")
    )
    assert not (tmp_path / "runs" / "imagenette5").exists()
    name = cut_short(next((source / "val" / "n03028079").iterdir()))
    assert re.search(
        rf"1 of 25 JPEG files are broken: {name}.*skip_broken",
        refused(monkeypatch, capsys, "data", "imagenette5", str(source), "--size", "32"),
    )
    assert not (tmp_path / "runs" / "imagenette5").exists()
    monkeypatch.setattr(
        "sys.argv", ["fourier-mask", "data", "imagenette5", str(source), "--size", "32", "--skip-broken"]
    )
    with (
        pytest.warns(UserWarning, match="1 of 25 JPEG files are broken and were left out"),
        pytest.raises(SystemExit) as stop,
    ):
        cli.main()
    assert not stop.value.code
    assert json.loads((tmp_path / "runs" / "imagenette5" / "record.json").read_text())["broken"] == [name]
    capsys.readouterr()
    assert "size 32; asked for size 64" in refused(
        monkeypatch, capsys, "reproduce", "fig_03", "--profile", "paper", "--set", "data.size=64"
    ).replace("of size 32 from", "size 32; from")
