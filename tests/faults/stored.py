"""Every kind of file that is kept, damaged in every way: networks, masks, records, selections, figures, decoded images.

What was computed is asked for again. It must come back with the same numbers and a warning that names what was damaged
(mended), or be refused by name; the same numbers without a word are a failure as well, unless nothing was lost.
"""
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from faults.outcome import REFUSALS, Outcome
from fourier_mask.device import on_device
from fourier_mask.files import remove
from fourier_mask.imagenette import CLASSES, imagenette5, prepare_imagenette5
from fourier_mask.mask_set import PER_MASK
from fourier_mask.record import read_items
from fourier_mask.reproduce import plan, run_notebook
from fourier_mask.runner import Task
from fourier_mask.store import Store
from fourier_mask.study import Study

TINY = {"data.n_train": 300, "data.n_val": 100, "train.epochs": 6, "train.attack.eps_255": 60, "image.n": 6,
        "image.shard_size": 2, "mask.steps": 3}


def study_in(root: Path) -> Study: return Study("smoke", settings=TINY, store=Store(root / "runs"), progress=False)


def flipped(content: bytes) -> bytes:
    "One bit in the middle is another."
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def to_folder(path): path.unlink(); path.mkdir()


def to_link(path): path.unlink(); path.symlink_to(path.with_name("nowhere"))


DAMAGES = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one bit flipped": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "a byte too many": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "filled with noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size)),
    "removed": lambda path: path.unlink(),
    "a folder in its place": to_folder,
    "a dangling link in its place": to_link,
}
EDITS = {
    "a list": lambda record: [record],
    "without its checksum": lambda record: {key: value for key, value in record.items() if key != "checksum"},
    "without files": lambda record: record | {"files": {}},
    "with files as a list": lambda record: record | {"files": sorted(record.get("files", ()))},
    "with another number": lambda record: json.loads(json.dumps(record).replace("1", "2")),
    "half of its keys": lambda record: dict(list(record.items())[::2]),
    "as a number": lambda record: 1,
}


@dataclass(frozen=True)
class Kept:
    "Something that is kept, and how it is asked for."

    name: str
    file: str  # pattern below the root; the first that matches is damaged
    ask: Callable[[Path], object]  # all numbers of it, given the root
    edits: bool = False  # whether it is a record of ours


def numbers_of(masks): return [masks.masks, *(getattr(masks, name) for name in PER_MASK)]


def network(root):
    study = study_in(root)
    known = {name: value for name, value in study.network_record("natural").items() if name != "made_on"}
    return [*study.network("natural").state_dict().values(), json.dumps(known)]


def two_networks(root): return network(root) + [*study_in(root).network("adversarial").state_dict().values()]


def dataset_mask(root): return [*numbers_of(study_in(root).dataset_mask("natural")), study_in(root).logits("natural")]


def class_masks(root): return numbers_of(study_in(root).class_masks("natural"))


def image_masks(root): return numbers_of(study_in(root).image_masks("natural"))


def selection(root):
    chosen = study_in(root).selection()
    return [chosen.images, chosen.attacked, chosen.index, chosen.labels]


def decoded(root):
    data = imagenette5(root / "imagenette5", 16, check=True)
    return [data.train.images, data.train.labels, data.train.extent, data.val.images, data.val.labels]


KEPT = [
    Kept("a network's weights", "runs/network/*/network.safetensors", two_networks),
    Kept("a network's record", "runs/network/*/record.json", two_networks, True),
    Kept("a data-set mask's record", "runs/dataset_mask/*/record.json", dataset_mask, True),
    Kept("a network's answers", "runs/dataset_mask/*/logits.safetensors", dataset_mask),
    Kept("a data-set mask's plane", "runs/dataset_mask/*/masks.zarr/mask/c/0/0/0/0", dataset_mask),
    Kept("what a folder of masks says of itself", "runs/dataset_mask/*/masks.zarr/zarr.json", dataset_mask),
    Kept("what an array says of itself", "runs/dataset_mask/*/masks.zarr/mask/zarr.json", dataset_mask),
    Kept("frequencies of a mask", "runs/class_masks/*/masks.zarr/u/c/0", class_masks),
    Kept("objectives of class masks", "runs/class_masks/*/masks.zarr/objective/c/0", class_masks),
    Kept("a selection", "runs/selection/*/selection.safetensors", selection),
    Kept("a selection's record", "runs/selection/*/record.json", selection, True),
    Kept("a shard of image masks", "runs/image_masks/*/masks.zarr/mask/c/1/0/0/0", image_masks),
    Kept("a shard's checksum", "runs/image_masks/*/masks.zarr/checksum/c/0/0", image_masks),
    Kept("a folder of image masks", "runs/image_masks/*/masks.zarr/zarr.json", image_masks),
    Kept("an array of image masks", "runs/image_masks/*/masks.zarr/steps/zarr.json", image_masks),
    Kept("image masks' record", "runs/image_masks/*/record.json", image_masks, True),
    Kept("decoded images' record", "imagenette5/record.json", decoded, True),
    Kept("decoded training images", "imagenette5/train_images.npy", decoded),
    Kept("labels of decoded images", "imagenette5/val_labels.npy", decoded),
]


def make_all(root: Path) -> None:
    "Everything once, in a folder."
    for kept in KEPT[:-3]: kept.ask(root)
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for wordnet_id in CLASSES:
            place = root / "imagenette2-160" / part / wordnet_id
            place.mkdir(parents=True)
            for n in range(2):
                Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(place / f"{n}.JPEG")
    prepare_imagenette5(root / "imagenette2-160", root / "imagenette5", size=16, progress=False)


def same(one: list, other: list) -> bool:
    "Equal to the last bit; what is no number, to no number."
    def equal(a, b): return torch.equal(a.nan_to_num(7), b.nan_to_num(7)) if isinstance(a, torch.Tensor) else a == b

    return len(one) == len(other) and all(map(equal, one, other))


def asked_again(fault: str, ask: Callable[[], list], wanted: list, names: tuple[str, ...]) -> Outcome:
    "Whether what is damaged comes back as it was, and with a word, or is refused by name."
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try: got = ask()
        except REFUSALS as error:
            said = str(error)
            fair = "\n" not in said and any(name in said for name in names)
            return Outcome(fault, "refused" if fair else "failed", said)
        except Exception as error: return Outcome(fault, "failed", f"foreign {type(error).__name__}: {error}")
    said = " | ".join(str(warning.message) for warning in caught)
    if not same(got, wanted): return Outcome(fault, "failed", f"other numbers: {said}")
    return Outcome(fault, "mended" if any(name in said for name in names) else "failed", said or "not a word")


def damaged(root: Path, kept: Kept, damage: Callable[[Path], None], what: str, wanted: list) -> Outcome:
    "Damage a copy and ask for it."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(root, copy, symlinks=True)
        file = next(iter(sorted(copy.glob(kept.file))))
        damage(file)
        place = file.relative_to(copy)
        return asked_again(f"{kept.name}: {what}", lambda: kept.ask(copy), wanted, (file.name, place.parts[-2]))


def edit(path: Path, change: Callable[[dict], object]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def exchanged(root: Path, pattern: str, ask: Callable[[Path], list], wanted: list, what: str) -> Outcome:
    "Two results of a kind change places."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(root, copy, symlinks=True)
        one, other = sorted(path for path in copy.glob(pattern) if path.is_dir() and not path.suffix)[:2]
        for old, new in ((one, copy / "between"), (other, one), (copy / "between", other)): old.rename(new)
        return asked_again(f"exchanged: {what}", lambda: ask(copy), wanted, (one.name, other.name))


def two_masks(root):
    lighter = study_in(root).variant({"mask.weight": 0.3})
    return dataset_mask(root) + numbers_of(lighter.dataset_mask("natural"))


def two_sets(root): return image_masks(root) + numbers_of(study_in(root).image_masks("adversarial", attacked=True))


def mask_and_set(root): return dataset_mask(root) + class_masks(root)


def figures(root: Path) -> Iterator[Outcome]:
    "Files of an item: each damage is noticed by the next run, and nothing altered gets into the report."
    places = {"FOURIER_MASK_RUNS": str(root / "runs"), "FOURIER_MASK_FIGURES": str(root / "figures")}
    with mock.patch.dict(os.environ, places):
        call, folder = planned().call, root / "figures" / "smoke"
        run_notebook(*call[1:])
        place = Path(call[3])
        whole = {path.name: path.read_bytes() for path in place.iterdir()}
        wanted = read_items(place.parent)[0]
        assert planned().state == "unchanged" and folder in place.parents
        for name in ("run.json", "metrics.json", "fig_01.png", "fig_01.pdf"):
            for what, damage in DAMAGES.items():
                damage(place / name)
                again, (shown, wrong) = planned().state == "waiting", read_items(place.parent)
                harmless = not shown or shown == wanted and name not in ("metrics.json", "fig_01.png")
                fair = again and (name in wrong.get("fig_01", "") or harmless)
                said = wrong.get("fig_01", "shown as it was" if shown else "not shown")
                told = f"run again: {again}; {said}"
                yield Outcome(f"{name} of an item: {what}", "mended" if fair else "failed", told)
                remove(place / name)
                (place / name).write_bytes(whole[name])
        (place / "fig_01.png").write_bytes(b"")
        run_notebook(*planned().call[1:])
        same = planned().state == "unchanged" and (place / "fig_01.png").read_bytes() == whole["fig_01.png"]
        yield Outcome("an item with a damaged picture, run again", "mended" if same else "failed")


def planned() -> Task:
    "What is to be done about an item that needs no network."
    return plan(["fig_01"], "smoke", TINY | {"need_mb": 0})[0]["fig_01"]


def tried(every: int = 1) -> Iterator[Outcome]:
    "All of them, or each so many-th of those of the store."
    with on_device("cpu"), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        root, number = Path(folder) / "root", 0
        warnings.simplefilter("ignore")
        make_all(root)
        for kept in KEPT:
            wanted = kept.ask(root)
            edits = {f"{what}": (lambda path, change=change: edit(path, change)) for what, change in EDITS.items()}
            for what, damage in (DAMAGES | (edits if kept.edits else {})).items():
                number += 1
                if number % every == 0: yield damaged(root, kept, damage, what, wanted)
        for what, pattern, ask in (("two networks", "runs/network/*", two_networks),
                                   ("two masks", "runs/dataset_mask/*", two_masks),
                                   ("two sets of image masks", "runs/*_masks/*", mask_and_set)):
            wanted = ask(root)
            yield exchanged(root, pattern, ask, wanted, what)
        yield from figures(root)
