"A run that is stopped, or has company: what is kept, what it says, and what is left behind."
import json
import os
import signal
import subprocess
import time

import psutil
import pytest
from conftest import ROOT
from test_reproduce import COMMAND, metrics

SMALL = [word for setting in ("data.n_train=150", "data.n_val=60") for word in ("--set", setting)]


def started(*words, env):
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([*COMMAND, "reproduce", *words, "--profile", "smoke", *SMALL], env=env, cwd=ROOT, **pipes)


@pytest.fixture
def env(tmp_path):
    return os.environ | {"FOURIER_MASK_RUNS": str(tmp_path / "runs"), "FOURIER_MASK_FIGURES": str(tmp_path / "figures")}


@pytest.mark.parametrize(("number", "until", "workers"), [
    (signal.SIGINT, "running   network:natural", ()),  # its workers are still starting
    (signal.SIGTERM, "running   fig_02", ()),  # a notebook is at work in a kernel of its own
    (signal.SIGTERM, "done      network:natural", ("--workers", "1")),
])
def test_a_signal_to_the_runner_alone_stops_all_it_has_begun(env, number, until, workers):
    process = started("fig_02", *workers, env=env)
    for line in process.stdout:
        if until in line: break
    time.sleep(1)
    children = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    process.send_signal(number)
    time.sleep(0.05)
    process.send_signal(number)  # an impatient user
    out, err = process.communicate(timeout=30)
    took = time.monotonic() - began
    assert process.returncode == 128 + number and err == "" and "What is done is kept" in out, (process.returncode, err)
    assert took < 6  # 1.0 to 1.8 s seen; the aim is 3 s, and a loaded machine may double that
    _, left = psutil.wait_procs(children, timeout=5)
    assert not left
    whole = (ROOT / env["FOURIER_MASK_RUNS"]).glob("*/*[0-9a-f]/record.json")
    kept = {p: p.stat().st_mtime_ns for p in whole}
    assert bool(kept) == (until != "running   network:natural")
    again = started("fig_02", env=env)
    told = again.communicate(timeout=120)
    assert again.returncode == 0 and {p: p.stat().st_mtime_ns for p in kept} == kept, told
    assert not [p for folder in ("RUNS", "FIGURES") for p in (ROOT / env[f"FOURIER_MASK_{folder}"]).rglob("*.part")]


def test_two_runs_of_one_item_leave_one_whole_result(env, tmp_path):
    runs = [started("fig_02", env=env) for _ in range(2)]
    told = [process.communicate(timeout=240) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], told
    folder, = (tmp_path / "figures" / "smoke").glob("*/fig_02")
    assert metrics(folder.parent, "fig_02")["item"] == "fig_02"
    assert not list(tmp_path.rglob("*.part")) and len(list((tmp_path / "runs").glob("network/*/record.json"))) == 1
    made = json.loads((folder / "run.json").read_text())
    assert {p.name for p in folder.iterdir()} == {*made["files"], "run.json", "fig_02.ipynb"}
