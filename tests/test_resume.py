"The runner killed while it works, in a real process: what was whole stays, and the numbers end the same."
import json
import os
import signal
import subprocess
import time

from conftest import ROOT
from test_reproduce import COMMAND, metrics, run

SMALL = [
    word
    for setting in ("data.n_train=150", "data.n_val=60", "train.epochs=3", "mask.steps=2")
    for word in ("--set", setting)
]


def test_killed_at_work_it_goes_on_and_ends_with_the_same_numbers(tmp_path):
    words = ["reproduce", "fig_03", "--profile", "smoke", *SMALL]
    env = {
        name: os.environ
        | {"FOURIER_MASK_RUNS": str(tmp_path / name / "runs"), "FOURIER_MASK_FIGURES": str(tmp_path / name / "figures")}
        for name in ("killed", "calm")
    }
    runs = tmp_path / "killed" / "runs"
    process = subprocess.Popen(
        [*COMMAND, *words], env=env["killed"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    # something is whole and something is half made
    while not (list(runs.glob("network/*/record.json")) and list(runs.glob("*/*.part"))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL); process.wait()  # the runner alone; its workers must follow by themselves
    whole = {p: p.stat().st_mtime_ns for p in runs.glob("*/*/record.json")}
    assert 1 <= len(whole) < 10
    results = {name: run(*words, env=env[name]) for name in env}
    assert all(result.returncode == 0 for result in results.values())
    assert "waiting for another process" not in results["killed"].stdout
    assert {p: p.stat().st_mtime_ns for p in whole} == whole and not list(runs.glob("*/*.part"))
    files = {
        name: {
            p.parent.name: json.loads(p.read_text())["files"]
            for p in (tmp_path / name / "runs").glob("*/*/record.json")
        }
        for name in env
    }
    assert len(files["calm"]) == 10 and files["killed"] == files["calm"]  # checksums of weights and masks
    variant = next((tmp_path / "calm" / "figures" / "smoke").glob("*=*")).name
    values = [metrics(tmp_path / name / "figures" / "smoke" / variant, "fig_03")["values"] for name in env]
    assert values[0] == values[1]
