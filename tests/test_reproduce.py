"The runner: every item on the smoke profile, what is not run again, refusals, failures, sudden death."
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

from fourier_mask import cli
from fourier_mask import reproduce as runs
from fourier_mask.files import read_sealed
from fourier_mask.record import load_expected, load_manifest, read_metrics
from fourier_mask.reproduce import asked_items, chosen_items, plan, unchanged

COMMAND = [f"{sys.prefix}/bin/fourier-mask"]
ITEMS = list(load_manifest())


def run(*words, env, cwd=ROOT):
    return subprocess.run([*COMMAND, *words], env=env, cwd=cwd, capture_output=True, text=True, timeout=600)


def metrics(folder, item): return json.loads((Path(folder) / item / "metrics.json").read_text())


@pytest.fixture(scope="session")
def smoke(environment):
    "All items on the smoke profile, as a user runs them."
    began = time.monotonic()
    result = run("reproduce", "--profile", "smoke", env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return Path(environment["FOURIER_MASK_FIGURES"]) / "smoke", result, time.monotonic() - began


@pytest.mark.parametrize("item", ITEMS)
def test_every_item_leaves_what_it_promises(smoke, item):
    folder, made = smoke[0], load_manifest()[item]
    for name in made.outputs: assert (folder / item / name).stat().st_size > 0
    record = metrics(folder, item)
    assert record["item"] == item and record["profile"] == "smoke" and record["seed"] == 31
    assert {"versions", "commit", "device", "seconds", "threads"} <= record.keys()
    values = {value["name"]: value for value in record["values"]}
    # an empty mask has none
    assert values and all(isinstance(value["value"], float) or "centroid" in value["name"] for value in values.values())
    for name, expected in load_expected(item).items():
        assert values[name]["paper"] == expected.paper
        holds = "by construction" if expected.by_construction else "match"
        assert values[name]["verdict"] in (["not comparable"] if expected.comparable == "paper" else [holds, "differs"])
    notebook = nbformat.read(folder / item / f"{item}.ipynb", 4)
    assert not [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"]


def test_what_must_hold_for_any_network_holds_on_smoke(smoke):
    "What is true by construction, and claims about the method rather than well-trained networks, hold even here."
    for item in ("fig_01", "fig_02", "fig_A1", "fig_A5"):
        for value in metrics(smoke[0], item)["values"]:
            assert value["verdict"] in ("match", "by construction", ""), value


def test_the_report_is_one_page_with_everything(smoke):
    page = (smoke[0] / "report.html").read_text()
    pictures = [p for p in smoke[0].glob("*/*.png")]
    assert page.count('src="data:image/png;base64,') == len(pictures) >= len(ITEMS)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert all(f'id="{item}"' in page for item in ITEMS) and "89.56" in page and "not comparable" in page


def test_what_has_not_changed_is_not_run_again(smoke, environment):
    before = {p: p.stat().st_mtime_ns for p in smoke[0].glob("*/metrics.json")}
    began = time.monotonic()
    result = run("reproduce", "--profile", "smoke", env=environment)
    took = time.monotonic() - began
    assert result.returncode == 0 and result.stdout.count("unchanged") == len(ITEMS) + 1
    # 5 to 8 s seen; a loaded machine may double that
    assert {p: p.stat().st_mtime_ns for p in smoke[0].glob("*/metrics.json")} == before and took < 30


def test_an_item_is_run_again_when_the_store_holds_another_network(smoke):
    folder = smoke[0] / "fig_02"
    run = read_sealed(folder / "run.json")
    assert run["made_from"].keys() == {"dataset_mask:natural"}
    assert unchanged(folder, run["key"], run["made_from"]) and unchanged(folder, run["key"], {})
    assert not unchanged(folder, run["key"], {"dataset_mask:natural": "0" * 64})


def test_an_altered_picture_or_another_parameter_is_run_again(smoke, environment):
    (smoke[0] / "fig_01" / "fig_01.png").write_bytes(b"not a picture")
    result = run("reproduce", "fig_01", "--profile", "smoke", env=environment)
    assert result.returncode == 0 and re.search(r"done +fig_01", result.stdout)
    assert (smoke[0] / "fig_01" / "fig_01.png").read_bytes()[:4] == b"\x89PNG"
    result = run("reproduce", "fig_01", "--profile", "smoke", "--set", "seed=3", "--set", "clip=0.5", env=environment)
    assert result.returncode == 0 and metrics(smoke[0] / "seed=3" / "clip=0.5", "fig_01")["seed"] == 3
    assert metrics(smoke[0], "fig_01")["seed"] == 31
    page = (smoke[0] / "seed=3" / "clip=0.5" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1 and "clip=0.5" in page


def test_papermill_alone_does_the_same(smoke, environment, tmp_path):
    env = environment | {"FOURIER_MASK_FIGURES": str(tmp_path)}
    words = [
        sys.executable,
        "-m",
        "papermill",
        load_manifest()["fig_04"].path,
        tmp_path / "out.ipynb",
        "-p",
        "profile",
        "smoke",
    ]
    subprocess.run(words, env=env, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert metrics(tmp_path / "smoke", "fig_04")["values"] == metrics(smoke[0], "fig_04")["values"]


@pytest.mark.parametrize(("given", "message"), [
    (["sed", "3"], "parameter of fig_01: 'sed' is not known"), (["step", "true"], "step of fig_01 must be float"),
    (["clip", "7"], "clip of fig_01 must be finite and lie in"),
])
def test_papermill_alone_refuses_what_the_runner_would(environment, tmp_path, given, message):
    env = environment | {"FOURIER_MASK_FIGURES": str(tmp_path)}
    path = load_manifest()["fig_01"].path
    words = [sys.executable, "-m", "papermill", path, tmp_path / "out.ipynb", "-p", *given]
    result = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode != 0 and message in result.stderr and not list(tmp_path.rglob("metrics.json"))


def test_the_result_depends_on_neither_jobs_nor_cores(smoke, environment, tmp_path):
    "One worker, in an environment of two threads, beside the two workers of one thread that made the others."
    folders = {"FOURIER_MASK_RUNS": str(tmp_path / "runs"), "FOURIER_MASK_FIGURES": str(tmp_path / "figures")}
    env = environment | folders | {"OMP_NUM_THREADS": "2"}
    result = run("reproduce", "fig_02", "--profile", "smoke", "--jobs", "1", env=env)
    assert result.returncode == 0
    for made in (tmp_path / "runs").glob("*/*/record.json"):
        there = Path(environment["FOURIER_MASK_RUNS"]) / made.relative_to(tmp_path / "runs")
        assert json.loads(made.read_text())["files"] == json.loads(there.read_text())["files"]
    assert len(list((tmp_path / "runs").glob("*/*/record.json"))) == 2
    assert metrics(tmp_path / "figures" / "smoke", "fig_02")["values"] == metrics(smoke[0], "fig_02")["values"]


def test_an_altered_number_is_left_out_of_the_report(smoke, environment, tmp_path):
    shutil.copytree(smoke[0], tmp_path / "smoke")
    file = tmp_path / "smoke" / "fig_04" / "metrics.json"
    file.write_text(file.read_text().replace('"verdict": "differs"', '"verdict": "match"'))
    result = run("report", "--profile", "smoke", env=environment | {"FOURIER_MASK_FIGURES": str(tmp_path)})
    page = (tmp_path / "smoke" / "report.html").read_text()
    assert result.returncode == 0 and 'id="fig_04"' not in page and 'id="fig_03"' in page
    assert "metrics.json was altered since it was written. Run it again." in page
    with pytest.raises(ValueError, match="fig_04: .*metrics.json was altered"): read_metrics(tmp_path / "smoke")


def test_dask_workers_learn_the_same_masks_shard_by_shard(smoke, environment, tmp_path):
    "From the same networks, so that only the masks of single images are made again."
    first = Path(environment["FOURIER_MASK_RUNS"])
    shutil.copytree(first, tmp_path / "again")
    kinds = ("image_masks", "attacked_masks")
    for kind in kinds: shutil.rmtree(tmp_path / "again" / kind)
    env = environment | {
        "FOURIER_MASK_RUNS": str(tmp_path / "again"),
        "FOURIER_MASK_FIGURES": str(tmp_path / "figures"),
    }
    result = run("reproduce", "fig_07", "--profile", "smoke", "--workers", "2", "--set", "image.shard_size=32", env=env)
    assert result.returncode == 0 and "with 2 workers" in result.stdout, result.stdout + result.stderr
    assert (
        metrics(tmp_path / "figures" / "smoke" / "image.shard_size=32", "fig_07")["values"]
        == metrics(smoke[0], "fig_07")["values"]
    )
    # 80 images in shards of 32
    for kind in kinds:
        assert (made := list((tmp_path / "again").glob(f"{kind}/*/masks.zarr")))
        assert len(list((made[0] / "mask" / "c").iterdir())) == 3


@pytest.fixture
def project(tmp_path):
    "A copy of what `reproduce` reads, to break."
    shutil.copytree(ROOT / "paper", tmp_path / "project" / "paper")
    shutil.copytree(
        ROOT / "nbs" / "paper",
        tmp_path / "project" / "nbs" / "paper",
        ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
    )
    return tmp_path / "project"


def edit(path, change):
    notebook = nbformat.read(path, 4)
    change(notebook)
    nbformat.write(notebook, path)


def test_a_failing_notebook_is_shown_and_the_others_go_on(smoke, environment, project, tmp_path):
    def fail(notebook): next(c for c in notebook.cells if c.source.startswith("signals =")).source = "signals = 1 / 0"
    edit(project / "nbs" / "paper" / "fig_01_blue_shift.ipynb", fail)
    env = environment | {"FOURIER_MASK_FIGURES": str(tmp_path / "figures")}
    result = run("reproduce", "fig_01", "fig_02", "--profile", "smoke", env=env, cwd=project)
    assert result.returncode == 1
    assert re.search(
        r"fig_01 failed: cell \d+ \('signals = 1 / 0'\): ZeroDivisionError: division by zero", result.stdout
    ), result.stdout
    assert metrics(tmp_path / "figures" / "smoke", "fig_02")["item"] == "fig_02"
    executed = nbformat.read(tmp_path / "figures" / "smoke" / "fig_01" / "fig_01.failed.ipynb", 4)
    page = (tmp_path / "figures" / "smoke" / "report.html").read_text()
    # no picture of an earlier run
    assert "ZeroDivisionError" in page and 'id="fig_01"' not in page and 'id="fig_02"' in page
    assert [
        o.ename for c in executed.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"
    ] == ["ZeroDivisionError"]


def test_the_last_whole_result_stays_until_the_next_is_whole(smoke, environment, project, tmp_path):
    shutil.copytree(smoke[0], tmp_path / "figures" / "smoke")
    place = tmp_path / "figures" / "smoke" / "fig_01"
    (place / "notes.txt").write_text("mine")
    before = {p.name: p.read_bytes() for p in place.iterdir()}
    path = project / "nbs" / "paper" / "fig_01_blue_shift.ipynb"

    def fail_late(notebook): notebook.cells[-1].source += "\nraise OSError('no room')"

    edit(path, fail_late)
    env = environment | {"FOURIER_MASK_FIGURES": str(tmp_path / "figures")}
    assert run("reproduce", "fig_01", "--profile", "smoke", env=env, cwd=project).returncode == 1
    left = {p.name: p.read_bytes() for p in place.iterdir()}
    assert left.pop("fig_01.failed.ipynb") and left == before
    shutil.copy(ROOT / "nbs" / "paper" / path.name, path)
    assert run("reproduce", "fig_01", "--profile", "smoke", "--force", env=env, cwd=project).returncode == 0
    assert {p.name for p in place.iterdir()} == before.keys() and (place / "notes.txt").read_text() == "mine"
    assert not list((tmp_path / "figures").rglob("*.part"))


def refused(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["fourier-mask", *words])
    with pytest.raises(SystemExit) as stop: cli.main()
    out, err = capsys.readouterr()
    # a bar that was shown before
    err = "".join(line for line in err.replace("\r", "").splitlines(keepends=True) if "it/s" not in line)
    assert stop.value.code == 2 and out == "" and err.count("\n") == 1 and err.startswith("fourier-mask: "), (
        stop.value.code,
        out,
        err,
    )
    return err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fig_3"], "item 'fig_3' is not known; there are fig_01.* Did you mean 'fig_(0|A)3'"),
        (["--profile", "quik"], "profile 'quik' is not known; there are smoke, quick, paper. Did you mean 'quick'"),
        (["fig_03", "--set", "sede=3"], "parameter 'sede' is not known; .* Did you mean 'seed'"),
        (["fig_03", "--set", "train.attack.esp_255=3"], "Did you mean 'train.attack.eps_255'"),
        (
            ["fig_03", "--set", "train.attack.eps_255=-1"],
            r"setting train.attack.eps_255 = -1(.0)? is not allowed: input should be greater than or equal to 0",
        ),
        (
            ["fig_03", "--set", "mask.p=0.5"],
            "setting mask.p = 0.5 is not allowed: input should be greater than or equal to 1",
        ),
        (["fig_03", "--set", "data.n_val=3"], "so that no class is empty"),
        (["fig_03", "--set", "seed=-1"], "seed must be a whole number"),
        (["fig_03", "--set", "seed=three"], "parameter seed of fig_03 must be int"),
        (["fig_04", "--set", "bands=0"], "bands of fig_04 must be finite and lie in 2 … 1024"),
        (["fig_01", "--set", "step=0.0"], "step of fig_01 must be finite and lie in"),
        (["fig_01", "--set", "clip=NaN"], "clip of fig_01 must be finite"),
        (["fig_01", "--set", "step=true"], "step of fig_01 must be float, for example 0.2; got True"),
        (["fig_03", "--set", "seed=true"], "seed of fig_03 must be int, for example 31; got True"),
        (
            ["fig_03", "--set", "train.max_lr=Infinity"],
            "setting train.max_lr = inf is not allowed: it must be a finite number",
        ),
        (["fig_03", "--set", "mask.steps=true"], "setting mask.steps = True is not allowed: it must be a whole number"),
        (["fig_03", "--set", 'mask.steps="3"'], "setting mask.steps = '3' is not allowed: it must be a whole number"),
        (["fig_03", "--set", "mask.weight=true"], "setting mask.weight = True is not allowed: it must be a finite"),
        (
            ["fig_03", "--set", 'train.epochs={"natural": true}'],
            "setting train.epochs.natural = True is not allowed: it must be a whole number",
        ),
        (["fig_03", "--set", "train.epochs=true"], "setting train.epochs = True is not allowed"),
        (["fig_03", "--set", "train.compile=1"], "setting train.compile = 1 is not allowed: .*boolean"),
        (["fig_03", "--set", "mask.epochs=3"], "parameter 'mask.epochs' is not known"),
        (["fig_03", "--set", "seed"], "--set must be name=value"),
        (["fig_03", "--jobs", "0"], "jobs must be a whole number of processes, at least 1; got 0"),
        (["fig_03", "--jobs", "3000"], "jobs must be at most [0-9]+ here, four for each core; got 3000"),
        (["fig_03", "--workers", "3000"], "workers must be at most [0-9]+ here"),
        (["fig_03", "--set", "seed=1", "--set", "seed=2"], "--set seed must be given once"),
        (["fig_03", "--set", "seed=" + "[" * 100_000], "parameter seed of fig_03 must be int"),
        (["fig_03", "--set", "threads=100000"], "setting threads = 100000 is not allowed"),
        (["tab_A1", "--set", "regimes=../../elsewhere"], "parameter regimes of tab_A1: '../../elsewhere' is not known"),
        (["tab_A1", "--set", "regimes=natural rotatoin"], "Did you mean 'rotation'"),
        (["fig_03", "--set", "threads=0"], "setting threads = 0 is not allowed"),
        (["fig_03", "--set", "out=elsewhere"], "parameter 'out' is not known"),
        (["fig_03", "--profile", "paper"], "fourier-mask data imagenette5 PATH"),
        (["fig_03", "--profile", "paper", "--set", "data.name=folder"], "data.path must name a folder"),
        (["fig_03", "--device", "cuda:99"], "device 'cuda:99' is not to be had here; there are cpu"),
        (["fig_03", "--dask", "tcp://127.0.0.1:9"], "no Dask scheduler answers there within 5 s"),
        (["fig_03", "--dask", "tcp://127.0.0.1:9", "--workers", "2"], "jobs, dask and workers exclude each other"),
        (["fig_03", "--workers", "-1"], "workers must be a whole number of processes, at least 1; got -1"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(monkeypatch, capsys, tmp_path, words, message):
    words = ["reproduce", *words] if "--profile" in words else ["reproduce", *words, "--profile", "smoke"]
    assert re.search(message, refused(monkeypatch, capsys, *words))
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.part"))


def untag(notebook): next(c for c in notebook.cells if c.metadata.get("tags"))["metadata"] = {}


def compute_in_parameters(notebook):
    next(c for c in notebook.cells if c.metadata.get("tags")).source += "\nhalf: float = 1 / 2  # not a literal"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (untag, "must have one cell tagged 'parameters'; it has 0"),
        (compute_in_parameters, "'name: type = literal' only"),
    ],
)
def test_a_notebook_without_proper_parameters_is_refused(monkeypatch, capsys, project, change, message):
    edit(project / "nbs" / "paper" / "fig_01_blue_shift.ipynb", change)
    monkeypatch.chdir(project)
    assert message in refused(monkeypatch, capsys, "reproduce", "fig_01", "--profile", "smoke")


@pytest.mark.parametrize(("old", "new", "message"), [
    ('[fig_02]', '[fig_01.parameters.smoke]\nstpe = 0.1\n\n[fig_02]', "Did you mean 'step'"),
    ('limits = { step = [0.01, 1]', 'limits = { stpe = [0.01, 1]', "Did you mean 'step'"),
    ('"dataset_mask:natural"]', '"dataset_maks:natural"]', "Did you mean 'dataset_mask:natural'"),
    ('"dataset_mask:*"]', '"datasetmask:*"]', "need 'datasetmask:\\*' is not known"),
    ('"fig_01.png"', '"../../fig_01.png"', "must be the name of a file, without folders; got '../../fig_01.png'"),
    ('"fig_01.png"', '"/tmp/fig_01.png"', "must be the name of a file, without folders"),
    ('"fig_01_blue_shift.ipynb"', '"../62_cli.ipynb"', "must be the name of a file, without folders"),
    ('title = "Blue shift', 'titel = "Blue shift', "titel"),
    ('[fig_01]', '["../elsewhere"]', "must be the name of a file, without folders; got '../elsewhere'"),
    ('[fig_01]\n', '[fig_01\n', "manifest.toml cannot be used"),
])
def test_a_manifest_is_not_taken_on_trust(monkeypatch, capsys, project, old, new, message):
    manifest = project / "paper" / "manifest.toml"
    assert old in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(old, new, 1))
    monkeypatch.chdir(project)
    assert re.search(message, refused(monkeypatch, capsys, "reproduce", "fig_01", "--profile", "smoke"))


@pytest.mark.parametrize("variable", ["FOURIER_MASK_RUNS", "FOURIER_MASK_FIGURES"])
def test_folders_that_cannot_be_written_are_refused_at_the_start(monkeypatch, capsys, tmp_path, variable):
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "below"))
    assert "cannot be written" in refused(monkeypatch, capsys, "reproduce", "fig_01", "--profile", "smoke")


def test_too_little_room_is_refused_at_the_start(monkeypatch, capsys):
    assert "MB of free space" in refused(
        monkeypatch, capsys, "reproduce", "fig_01", "--profile", "smoke", "--set", "need_mb=1e12"
    )


def test_expected_accuracies_are_the_papers_counts():
    "Table 1's percentages are counts of 1,973 images, the only number between 1,500 and 2,100 that fits all ten."
    counts = dict(
        natural=(1767, 1760),
        adversarial=(1571, 1558),
        scale=(1709, 1711),
        translation=(1694, 1684),
        rotation=(1351, 1345),
    )
    expected = load_expected("tab_01")
    for regime, (standard, masked) in counts.items():
        assert round(100 * standard / 1973, 2) == expected[f"{regime}: standard accuracy"].paper
        assert round(100 * masked / 1973, 2) == expected[f"{regime}: masked accuracy"].paper


def test_a_plan_makes_what_its_needs_need_and_nothing_else(environment, monkeypatch):
    for name, value in environment.items(): monkeypatch.setenv(name, value)
    tasks, _, _ = plan(["fig_07"], "smoke", {"data.n_val": 60})
    assert set(tasks) == {
        "network:natural",
        "network:adversarial",
        "selection:natural",
        "image_masks:natural",
        "attacked_masks:adversarial",
        "fig_07",
    }
    assert tasks["selection:natural"].after == ["network:natural", "network:adversarial"]
    assert tasks["attacked_masks:adversarial"].after == ["network:adversarial", "selection:natural"]
    order = list(plan(["fig_05", "fig_07"], "quick", {})[0])
    assert order[0] == "network:adversarial"  # the longest first
    # 20 passes over the validation images against 10 steps of attack
    assert order.index("class_masks:natural") < order.index("selection:natural")
    manifest = load_manifest()
    seconds = [manifest[name].seconds for name in plan([], "quick", {})[0] if ":" not in name]
    assert seconds == sorted(seconds, reverse=True) and len(set(seconds)) > 3  # likewise


def test_a_group_is_those_of_its_items_that_a_profile_runs(monkeypatch):
    manifest = load_manifest()
    names = lambda *asked: [item.name for item in asked_items(list(asked), "quick")]
    for group in ("paper", "ours", "diagnostics"):
        of_group = [name for name, item in manifest.items() if item.group == group and "quick" in item.profiles]
        assert names(group) == of_group and of_group
    assert sorted(names()) == sorted(names("paper", "ours", "diagnostics"))
    assert names("fig_A4", "diagnostics", "fig_A4", "tab_A1").count("fig_A4") == 1
    assert "tab_A1" in names("tab_A1") and "tab_A1" not in names("ours")  # too long for quick, unless it is named
    monkeypatch.setattr(runs, "lacking", lambda item: "no extra" if item.name == "fig_A6" else "")
    assert [item.name for item in chosen_items(["diagnostics"], "quick")] == ["fig_A4", "fig_A5", "tab_A3"]
    with pytest.raises(ValueError, match="no extra"): chosen_items(["diagnostics", "fig_A6"], "quick")
    monkeypatch.setattr(runs, "lacking", lambda item: f"{item.name} lacks it.")
    with pytest.raises(ValueError, match="names must leave an item that can run here. .*fig_A3 lacks it"):
        chosen_items(["ours"], "quick")
