"""Folders of masks, damaged in every way that a disk, a program or a person can think of.

After each damage a folder is read, looked at, and gone on with. It may be refused in one line that names it and says
what to do, or give exactly the masks that it held; gone on with, it ends with the numbers of an undisturbed folder.
"""
import atexit
import gc
import json
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
import zarr
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mask_sets import random_set

from fourier_mask.basis import RealFourier
from fourier_mask.files import remove
from fourier_mask.mask_folder import store_image_masks
from fourier_mask.mask_set import PER_MASK, MaskSet
from fourier_mask.part import Phase as PhasePart
from fourier_mask.shards import open_masks, save_mask_set

from .outcome import REFUSALS, Outcome

LONGEST = 120  # seconds that a damaged folder may take before it counts as a hang
REMEDIES = ("again", "another", "Choose", "Give", "Let", "see to")  # one of them is in every refusal
IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Hang(BaseException): pass


class Stop(Exception): pass


def network(x): return torch.stack([x[:, 0, 0].sum(1), x[:, 0, 1].sum(1)], 1)


def learn(path, model=network):
    return store_image_masks(path, model, IMAGES, shard_size=2, steps=3, part="phase", progress=False)


@cache
def folders() -> dict[str, Path]:
    "What is damaged: a set that was saved, a folder that is finished, and one that was left after two of its shards."
    home = tempfile.TemporaryDirectory(prefix="mask_folders_")
    atexit.register(home.cleanup)
    made = Path(home.name)
    basis = RealFourier((6, 5))
    save_mask_set(random_set(5, basis=basis, part=PhasePart(basis)), made / "saved", shard_size=2)

    def stopping(x):
        if (made / "half").is_dir() and open_masks(made / "half")["written"].to_numpy().sum() == 4: raise Stop
        return network(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn(made / "finished")
        try: learn(made / "half", stopping)
        except Stop: pass
    assert open_masks(made / "half")["written"].to_numpy().tolist() == [True] * 4 + [False] * 2
    return {name: made / name for name in ("saved", "finished", "half")}


def files_of(path): return sorted(p for p in path.rglob("*") if p.is_file() or p.is_symlink())


def contents(path):
    "What is below a place, links by what they say."
    def told(p): return os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else "folder"

    return {p.relative_to(path).as_posix(): told(p) for p in sorted(path.rglob("*"))}


def deep(n): return json.loads("[" * n + "]" * n)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=5),
    st.lists(st.integers(-1, 9), max_size=4),
    st.sampled_from([10**30, -(10**18), 2**63, 2**31, 1e308, [10**9] * 4, [0], [0] * 4, [[]], {}, {"a": {}}, deep(900),
                     "int32", "float64", "float32", "uint8", "NaN", "0x7fc00000", "array", "group", "gzip", "complex",
                     "big", "image", "shard", [{"name": "bytes"}], [{"name": "none such"}], "x" * 9999,
                     {"name": "bytes", "configuration": {"endian": "big"}}, {"scale_factor": 2.0}, {"units": "days"}]),
)


def json_paths(value, before=()):
    "All places in a JSON value."
    yield before
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner: yield from json_paths(each, (*before, key))


def alter_json(draw, path):
    "Another value at one place of a record, or nothing there, or something more."
    record = draw(st.sampled_from(sorted(path.rglob("zarr.json"))))
    try: value = json.loads(record.read_bytes())
    except ValueError: return "nothing"
    if not isinstance(value, dict): return "nothing"
    places = [place for place in json_paths(value) if place]
    if not places: return "nothing"
    place, how = draw(st.sampled_from(places)), draw(st.sampled_from(["set", "drop", "add"]))
    inner = value
    for key in place[:-1]: inner = inner[key]
    new = draw(VALUES)
    if how == "drop": del inner[place[-1]]
    elif how == "add" and isinstance(inner[place[-1]], dict): inner[place[-1]][draw(st.text(max_size=3))] = new
    else: inner[place[-1]] = new
    record.unlink()
    record.write_text(json.dumps(value))
    return f"{record.relative_to(path)}: {how} {'.'.join(map(str, place))} {str(new)[:40]!r}"


def alter_file(draw, path):
    "Flip, cut, empty, remove, or put something else in the place of a file."
    files = files_of(path)
    file = draw(st.sampled_from(files))
    other = draw(st.sampled_from(files))
    bytes_of = lambda p: p.read_bytes() if p.is_file() else b""
    data, how = bytes_of(file), draw(st.sampled_from(
        ["flip", "cut", "empty", "remove", "folder", "dangling link", "link", "loop", "other", "zeros", "longer"]))
    place, bit = draw(st.integers(0, max(0, len(data) - 1))), draw(st.integers(0, 7))
    content = bytes_of(other)
    remove(file)
    flipped = bytes(b ^ 1 << bit if n == place else b for n, b in enumerate(data))
    if how == "flip": file.write_bytes(flipped)
    if how == "cut": file.write_bytes(data[:place])
    if how == "empty": file.write_bytes(b"")
    if how == "zeros": file.write_bytes(bytes(len(data)))
    if how == "longer": file.write_bytes(data + content)
    if how == "folder": (file / "inner").mkdir(parents=True)
    if how == "dangling link": file.symlink_to(path.parent / "outside" / "nowhere")
    if how == "link": file.symlink_to(path.parent / "outside" / "file")
    if how == "loop": file.symlink_to(file)
    if how == "other": file.write_bytes(content)
    return f"{file.relative_to(path)}: {how} {place if how in ('flip', 'cut') else ''}"


def alter_folder(draw, path):
    "Remove a folder, change it for another, or put a link or a file in its place."
    inner = [p for p in sorted(path.rglob("*")) if p.is_dir() and not p.is_symlink()]
    if not inner: return "nothing"
    one, other = draw(st.sampled_from(inner)), draw(st.sampled_from(inner))
    how = draw(st.sampled_from(["remove", "swap", "link", "dangling link", "file", "copy", "into itself"]))
    if how in ("swap", "copy") and (one == other or one in other.parents or other in one.parents): how = "remove"
    if how == "swap":
        one.rename(path / "between")
        other.rename(one)
        (path / "between").rename(other)
    elif how == "copy":
        shutil.rmtree(one)
        shutil.copytree(other, one, symlinks=True)
    elif how == "into itself": (one / "again").symlink_to(one, target_is_directory=True)
    else:
        if how == "link": shutil.copytree(one, path.parent / "outside" / one.name, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(one)
        if how == "link": one.symlink_to(path.parent / "outside" / one.name, target_is_directory=True)
        if how == "dangling link": one.symlink_to(path.parent / "outside" / "nowhere")
        if how == "file": one.write_bytes(b"file")
    return f"{one.relative_to(path)}: {how} {other.relative_to(path) if how in ('swap', 'copy') else ''}"


def add_something(draw, path):
    "An array more, or a file that is somebody else's."
    names = ["more", "trace_more", "held_part_more", "u.zarr.new", ".part", ".masks.part", "k", "w"]
    name = draw(st.sampled_from(names))
    if (path / name).exists(): return "nothing"
    if "." in name: (path / name).write_text("mine")
    else:
        try: array = zarr.create_array(path / name, shape=(4,), chunks=(4,), dtype="float32", dimension_names=["more"])
        except Exception: return "nothing"  # noqa: BLE001  # what is damaged already can take no array
        array[:] = 1
    return f"{name}: added"


def zero_checksum(draw, path):
    piece = path / draw(st.sampled_from(["checksum", "origin"])) / "c" / str(draw(st.integers(0, 2))) / "0"
    remove(piece)
    return f"{piece.relative_to(path)}: zeros"


def swap_pieces(draw, path):
    pieces = [p for p in files_of(path) if p.name != "zarr.json" and p.is_file()]
    if not pieces: return "nothing"
    array = draw(st.sampled_from(pieces)).relative_to(path).parts[0]
    same = [p for p in pieces if p.relative_to(path).parts[0] == array]
    one, other = draw(st.sampled_from(same)), draw(st.sampled_from(same))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return f"{one.relative_to(path)} and {other.relative_to(path)}: swapped"


DAMAGES = (alter_json, alter_json, alter_file, alter_file, alter_folder, add_something, zero_checksum, swap_pieces)


def same(one, other):
    "Whether two sets are the same to the last bit."
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("masks", *PER_MASK)]
    for kind in ("trace", "held"):
        here, there = getattr(one, kind), getattr(other, kind)
        if here.keys() != there.keys(): return False
        pairs += [(here[name], there[name]) for name in here]
    bits = lambda t: (t.dtype, t.shape, t.resolve_conj().numpy().tobytes())
    return one.settings == other.settings and all(bits(a) == bits(b) for a, b in pairs)


@contextmanager
def watched() -> Iterator[list[str]]:
    "What asyncio says of tasks that nobody waited for; and no longer than `LONGEST`."
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("asyncio").addHandler(handler)

    def ring(*_): raise Hang

    here = threading.current_thread() is threading.main_thread()
    if here:
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try: yield said
    finally:
        if here:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        gc.collect()
        logging.getLogger("asyncio").removeHandler(handler)


def tried_call(call, path):
    "Result and refusal of a call; a refusal that is none of ours comes back as a fault."
    try: return call(), "", ""
    except REFUSALS as error:
        text = str(error)
        if "\n" in text or str(path) not in text or not any(word in text for word in REMEDIES):
            return None, text, f"{type(error).__name__} without name or remedy: {text}"
        return None, text, ""
    except Exception as error: return None, str(error), f"foreign {type(error).__name__}: {error}"  # noqa: BLE001


def outcome_of_damage(kind: str, work: Path, damage) -> Outcome:
    "Damage a copy of a folder, and look at what comes of it."
    path, whole = work / "masks.zarr", kind != "half"
    shutil.copytree(folders()[kind], path)
    (work / "outside").mkdir()
    (work / "outside" / "file").write_text("mine")
    before = MaskSet.load(path) if whole else None
    fault, wrong, refused = f"{kind}: {damage(path)}", [], ""
    outside, damaged = contents(work / "outside"), contents(path)
    with watched() as said, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded, refused, fail = tried_call(lambda: MaskSet.load(path), path)
            wrong += [f"load: {fail}"] * bool(fail)
            held = MaskSet.load(folders()["saved" if kind == "saved" else "finished"])
            if loaded is not None and not same(loaded, held):
                wrong.append("load: other masks are served")
            wrong += [f"open_masks: {fail}" for *_, fail in [tried_call(lambda: open_masks(path), path)] if fail]
            if whole and not before.to_xarray()["mask"].to_numpy().tobytes() == before.masks.numpy().tobytes():
                wrong.append("to_xarray: other masks are served")
            if contents(path) != damaged: wrong.append("reading wrote")
            if kind != "saved":
                done, refused, fail = tried_call(lambda: learn(path), path)
                wrong += [f"store_image_masks: {fail}"] * bool(fail)
                if done and not same(MaskSet.load(path), held):
                    wrong.append("store_image_masks: other masks are served")
                aside = [p for p in work.iterdir() if "damaged" in p.name]
                if any(contents(p) != damaged for p in aside): wrong.append("what was put aside is not what was there")
                if refused and not aside and contents(path) != damaged: wrong.append("refused, but touched")
        except Hang: wrong.append(f"took longer than {LONGEST} s")
        except Exception as error: wrong.append(f"foreign {type(error).__name__}: {error}")  # noqa: BLE001
    if contents(work / "outside") != outside: wrong.append("wrote or removed what is outside")
    wrong += [f"asyncio: {line}" for line in said]
    if wrong: return Outcome(fault, "failed", "; ".join(wrong))
    if refused: return Outcome(fault, "refused", refused)
    return Outcome(fault, "legitimate" if loaded is not None else "mended")


def tried(
    seconds: float = 1800,  # that it may take, about
    examples: int | None = None,  # damages; None for as many as there is time for
    first: int = 0,  # seed
) -> Iterator[Outcome]:
    "Damage folders at random, the same ones for the same seed."
    began, number = time.monotonic(), 0
    while time.monotonic() - began < seconds and (examples is None or number < examples):
        found, most = [], 20 if examples is None else min(20, examples - number)

        @seed(first + number)
        @settings(max_examples=most, deadline=None, database=None, phases=[Phase.generate], derandomize=False,
                  suppress_health_check=list(HealthCheck))
        @given(st.data())
        def damage_one(data):
            def damage(path):
                kinds = data.draw(st.lists(st.sampled_from(DAMAGES), min_size=1, max_size=2))
                return " + ".join(kind(data.draw, path) for kind in kinds)

            kind = data.draw(st.sampled_from(["saved", "finished", "finished", "half"]))
            with tempfile.TemporaryDirectory() as work: found.append(outcome_of_damage(kind, Path(work), damage))  # noqa: B023

        damage_one()
        yield from found
        number += max(most, len(found))
