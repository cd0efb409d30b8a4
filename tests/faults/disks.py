"""Disks: one that is full, one that can only be read, a process that may open few files.

The file systems are real, small ones in memory; where none may be mounted, those rows say that they were not tried.
Nothing half made counts afterwards, the error says what is short, and with room again the numbers are those of a calm
run.
"""
import errno
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import nn

from faults.outcome import Outcome
from fourier_mask.mask_folder import store_image_masks
from fourier_mask.mask_set import MaskSet
from fourier_mask.store import Store, checksums


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    "A file system of that size in a folder, if it may be mounted; whether it is."
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True).returncode == 0
    try: yield mounted
    finally:
        if mounted: subprocess.run(["umount", "-l", folder], check=True)


def remounted(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 3))


def images() -> torch.Tensor: return torch.rand(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def learn(path: Path) -> Path: return store_image_masks(path, network(), images(), shard_size=4, progress=False)


def fetch(root: Path):
    def make(part):
        (part / "a").write_bytes(b"1" * 200_000)
        return {}

    return Store(root).fetch("x", {"n": 1}, make)


def says_what_is_short(call: Callable[[], object], *numbers: int) -> str:
    "Empty if a call ends in an OSError with one of these numbers or their words; else what it did."
    try: call()
    except OSError as error:
        words = [os.strerror(number).lower() for number in numbers]
        fair = error.errno in numbers or any(word in str(error).lower() for word in words)
        return "" if fair else f"{type(error).__name__}: {error}"
    except Exception as error: return f"foreign {type(error).__name__}: {error}"
    return "nothing was said"


def full(folder: Path) -> Iterator[Outcome]:
    "A disk with room for some of it, then for all."
    calm = MaskSet.load(learn(folder / "calm.zarr"))
    for name, begin, kilobytes in (("masks learned into a folder", learn, 100), ("a set saved", calm.save, 60),
                                   ("a result of the store", fetch, 100)):
        disk = folder / "disk"
        disk.mkdir(exist_ok=True)
        with small_disk(disk, kilobytes) as mounted:
            if not mounted:
                yield Outcome(f"full disk: {name}", "not tried", "no file system may be mounted here")
                continue
            place = disk / "place"
            wrong = says_what_is_short(lambda begin=begin, place=place: begin(place), errno.ENOSPC)
            counted = list(Store(place).entries()) if begin is fetch else []
            with suppress(ValueError, FileNotFoundError): counted = counted or [MaskSet.load(place)]
            remounted(disk, "size=20m")
            begin(place)
            same = begin is fetch or torch.equal(MaskSet.load(place).masks, calm.masks)
            left = [path.name for path in disk.rglob("*.part")]
            good = not wrong and not counted and same and not left
            yield Outcome(f"full disk: {name}", "mended" if good else "failed",
                          f"said otherwise: {wrong!r}; counted: {counted}; same with room: {same}; left: {left}")


def read_only(folder: Path) -> Iterator[Outcome]:
    "What is finished can be read, and gone on with where nothing is left to do."
    disk = folder / "archive"
    disk.mkdir()
    with small_disk(disk, 20_000) as mounted:
        if not mounted:
            yield Outcome("a disk that can only be read", "not tried", "no file system may be mounted here")
            return
        learn(disk / "masks.zarr"), fetch(disk / "runs")
        before = checksums(disk)
        remounted(disk, "ro")
        calls = {"MaskSet.load": lambda: MaskSet.load(disk / "masks.zarr").to_xarray().load(),
                 "store_image_masks, nothing to do": lambda: learn(disk / "masks.zarr"),
                 "Store.fetch": lambda: fetch(disk / "runs"),
                 "Store.entries": lambda: list(Store(disk / "runs").entries())}
        for name, call in calls.items():
            try: call()
            except Exception as error: said = f"{type(error).__name__}: {error}"
            else: said = "" if checksums(disk) == before else "something was written"
            yield Outcome(f"read-only disk: {name}", "failed" if said else "legitimate", said)
        for name, call in {"MaskSet.save": lambda: MaskSet.load(disk / "masks.zarr").save(disk / "other.zarr"),
                           "a new result": lambda: fetch(disk / "runs" / "new")}.items():
            wrong = says_what_is_short(call, errno.EROFS)
            yield Outcome(f"read-only disk: {name}", "failed" if wrong else "refused", wrong)


def few_files(folder: Path) -> Iterator[Outcome]:
    "A process that may open few files is told so, and no folder of masks is called damaged for it."
    path = learn(folder / "masks.zarr")
    before, limits = checksums(path), resource.getrlimit(resource.RLIMIT_NOFILE)
    next_free = os.open(os.devnull, os.O_RDONLY)
    os.close(next_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, limits[1]))
    try: wrong = says_what_is_short(lambda: MaskSet.load(path), errno.EMFILE)
    finally: resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    good = not wrong and checksums(path) == before
    yield Outcome("few open files: MaskSet.load", "refused" if good else "failed", wrong)


def tried() -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory() as temporary:
        for kind in (full, read_only, few_files):
            folder = Path(temporary) / kind.__name__
            folder.mkdir()
            yield from kind(folder)
