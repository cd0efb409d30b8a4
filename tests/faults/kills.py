"""Sudden death: the runner is killed at moments that are drawn at random, again and again in one store.

What was whole stays untouched, and what the last run leaves is equal, file by file, to a run that nobody disturbed.
"""
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from faults.outcome import Outcome
from faults.processes import reproduce

ITEM = "fig_03"  # five networks, five masks, a notebook


def files_of(folder: Path) -> dict[str, dict]:
    "Checksums of everything in the store, by its place."
    found = (folder / "runs").glob("*/*[0-9a-f]/record.json")
    return {str(record.parent.relative_to(folder)): json.loads(record.read_text())["files"] for record in found}


def values_of(folder: Path) -> list:
    metrics, = (folder / "figures").glob(f"smoke/*/{ITEM}/metrics.json")
    return json.loads(metrics.read_text())["values"]


def tried(kills: int = 20, a_store: int = 5, seed: int = 0) -> Iterator[Outcome]:
    "So many kills, a few in each store."
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        calm, began = Path(temporary) / "calm", time.monotonic()
        if reproduce(calm, ITEM).wait(): raise RuntimeError("the undisturbed run failed")
        took = time.monotonic() - began
        for number in range(0, kills, a_store):
            folder = Path(temporary) / str(number)
            for each in range(number, min(number + a_store, kills)):
                process, after = reproduce(folder, ITEM), draw.uniform(0.1, 0.9) * took
                time.sleep(after)
                done = process.poll() is not None
                whole = {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("*/*[0-9a-f]/record.json")}
                process.kill()
                process.communicate()
                time.sleep(0.5)  # its workers follow by themselves
                lost = [path for path, when in whole.items() if not path.exists() or path.stat().st_mtime_ns != when]
                told = f"{len(whole)} results were whole after {after:.1f} of {took:.1f} s" + ", all done" * done
                yield Outcome(f"kill {each}", "failed" if lost else "mended", f"{told}; lost: {lost}")
            out, _ = (last := reproduce(folder, ITEM)).communicate()
            equal = last.returncode == 0 and files_of(folder) == files_of(calm) and values_of(folder) == values_of(calm)
            left = [str(path) for path in folder.rglob("*.part")]
            yield Outcome(f"the run after {a_store} kills", "mended" if equal and not left else "failed",
                          f"equal to an undisturbed one: {equal}; left: {left}; {out[-300:] if not equal else ''}")
