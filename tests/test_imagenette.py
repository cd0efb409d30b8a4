"Imagenette's layout with real JPEG files: found, checked, decoded, cached, cropped, trained on."
import functools
import json
import math
import shutil

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as transforms

from fourier_mask.crops import crop_boxes, cropped, random_resized_crop
from fourier_mask.data import Data, Images, fashion5
from fourier_mask.files import sealed
from fourier_mask.imagenette import CLASSES, COUNTS, FOLDERS, imagenette5, prepare_imagenette5, read_record
from fourier_mask.mask import FourierMask
from fourier_mask.models import ARCHITECTURES
from fourier_mask.train import (
    REGIMES,
    AttackSettings,
    TrainSettings,
    augment,
    new_network,
    shown,
    train_network,
    train_step,
)

OTHERS = ("n01440764", "n02979186", "n03425413", "n03445777", "n03888257")  # Imagenette's other five
SIZES = ((70, 52), (50, 75), (64, 64), (140, 41), (37, 90))  # width, height: around 4 : 3, and far from it
TINY = TrainSettings(
    width=0.125, epochs=1, batch_size=5, attack=AttackSettings(train_steps=1, eval_steps=1, eval_images=5)
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    "All ten classes, three images each in train and two in val; one is grey, one CMYK, as some of ImageNet's are."
    root, rng = tmp_path_factory.mktemp("original") / "imagenette2-160", np.random.default_rng(0)
    for part, each in (("train", 3), ("val", 2)):
        for c, wnid in enumerate((*CLASSES, *OTHERS)):
            (root / part / wnid).mkdir(parents=True)
            for i in range(each):
                width, height = SIZES[(c + i) % len(SIZES)]
                smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
                    (width, height), Image.Resampling.BICUBIC
                )
                mode = {(0, 0): "L", (1, 1): "CMYK"}.get((c, i), "RGB")
                smooth.convert(mode).save(
                    root / part / wnid / f"ILSVRC2012_val_{rng.integers(10**8):08d}.JPEG", quality=90
                )
    return root


@pytest.fixture
def source(original, tmp_path): return shutil.copytree(original, tmp_path / original.name)


@pytest.fixture
def cache(original, tmp_path): return prepare_imagenette5(original, tmp_path / "cache", size=32, progress=False)


def files_of(root, part): return [file for wnid in CLASSES for file in sorted((root / part / wnid).iterdir())]


def cut_short(file):
    "A file of which the last part is missing."
    file.write_bytes(file.read_bytes()[:-200])
    return f"{file.parent.parent.name}/{file.parent.name}/{file.name}"


def enlarge(file):
    "A file whose header promises 60,000 × 60,000 pixels."
    content = file.read_bytes()
    # start of frame: length, precision, height, width
    at = next(i for i in (content.find(bytes([0xFF, marker])) for marker in (0xC0, 0xC2)) if i > 0)
    file.write_bytes(content[: at + 5] + (60_000).to_bytes(2, "big") * 2 + content[at + 9 :])
    return f"{file.parent.parent.name}/{file.parent.name}/{file.name}"


def test_the_counts_are_those_of_imagenette_and_add_up_to_the_papers():
    assert (sum(COUNTS["train"]), sum(COUNTS["val"])) == (4671, 1973) and 4671 + 1973 == 4710 + 1934


@pytest.mark.parametrize("name", [*FOLDERS.values(), "mine"])
def test_every_edition_is_found_by_itself_and_in_its_parent(name, source, tmp_path):
    (tmp_path / "holds").mkdir()
    folder = source.rename(tmp_path / "holds" / name)
    prepare_imagenette5(folder, tmp_path / "a", size=32, progress=False)
    if name == "mine":
        with pytest.raises(ValueError, match="train lacks English springer"):
            prepare_imagenette5(folder.parent, tmp_path / "b", size=32, progress=False)
    else:
        prepare_imagenette5(folder.parent, tmp_path / "b", size=32, progress=False)
        assert imagenette5(tmp_path / "a", 32).fingerprint == imagenette5(tmp_path / "b", 32).fingerprint


def test_validation_images_are_torchvisions_pixel_by_pixel(original, cache):
    data, steps = (
        imagenette5(cache, 32),
        v2.Compose([v2.Grayscale(), v2.Resize(32), v2.CenterCrop(32), v2.PILToTensor()]),
    )
    oracle = torch.stack([steps(default_loader(str(file))) for file in files_of(original, "val")])
    assert data.val.images.dtype == torch.float32
    assert torch.equal((data.val.images * 255).round().to(torch.uint8), oracle)
    assert torch.equal(data.val.images, oracle.float() / 255)
    assert data.val.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert data.classes == ("English springer", "chain saw", "church", "French horn", "garbage truck")
    assert (data.mean, data.std) == (0.449, 0.226)
    assert (data.size, data.channels, data.name) == ((32, 32), 1, "imagenette5")


def test_training_images_lie_in_the_corner_of_their_canvas(original, cache):
    "The shorter side is 40 = 1.25 · 32 pixels, the longer at most 54 = ⌈4/3 · 40⌉, the rest of the canvas empty."
    train = imagenette5(cache, 32).train
    assert train.images.dtype == torch.uint8 and train.images.shape == (15, 1, 54, 54)
    assert train.extent.amin(1).tolist() == [40] * 15
    for image, (height, width), file in zip(
        train.images[:, 0], train.extent.tolist(), files_of(original, "train"), strict=True
    ):
        whole = v2.Resize(40)(v2.Grayscale()(default_loader(str(file))))
        assert (height, width) == (min(whole.height, 54), min(whole.width, 54))
        assert torch.equal(image[:height, :width], v2.PILToTensor()(v2.CenterCrop((height, width))(whole))[0])
        assert image[height:].count_nonzero() == 0 and image[:, width:].count_nonzero() == 0


def test_training_images_stay_on_disk_and_cannot_change_it(cache):
    before = (cache / "train_images.npy").read_bytes()
    data = imagenette5(cache, 32)
    data.train.images.zero_()  # a private copy of the mapped pages
    assert (cache / "train_images.npy").read_bytes() == before and imagenette5(cache, 32).train.images.max() > 0


def test_fewer_images_come_from_the_front_of_each_class_under_another_fingerprint(cache):
    data, few = imagenette5(cache, 32), imagenette5(cache, 32, n_train=10, n_val=5)
    assert few.train.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and few.train.extent.shape == (10, 2)
    assert torch.equal(few.val.images, data.val.images[::2])
    assert few.fingerprint != data.fingerprint == imagenette5(cache, 32, n_train=15).fingerprint
    with pytest.raises(ValueError, match=r"n_val must lie in 5 … 10, so that no class is empty; got 3"):
        imagenette5(cache, 32, n_val=3)


def test_the_record_says_what_is_in_the_cache(original, cache):
    record = read_record(cache, check=True)
    assert record["counts"] == {"train": dict.fromkeys(CLASSES.values(), 3), "val": dict.fromkeys(CLASSES.values(), 2)}
    assert record["broken"] == []
    assert (record["size"], record["canvas"], record["source"]) == (32, 54, "imagenette2-160")
    assert str(original.parent) not in json.dumps(record)
    assert record["imagenette_counts"]["val"]["church"] == 409


@pytest.mark.parametrize(("part", "wnids"), [("val", ["n03028079"]), ("train", ["n02102040", "n03417042"])])
def test_a_folder_that_lacks_classes_is_refused_by_their_names(source, tmp_path, part, wnids):
    for wnid in wnids: shutil.rmtree(source / part / wnid)
    named = ", ".join(rf"{CLASSES[wnid]} \({wnid}\)" for wnid in wnids)
    with pytest.raises(ValueError, match=f"; {part} lacks {named}. Give the right folder"):
        prepare_imagenette5(source, tmp_path / "cache", size=32, progress=False)
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_is_not_there_or_something_else_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        prepare_imagenette5(tmp_path / "nowhere", tmp_path / "cache", progress=False)
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"train lacks English springer \(n02102040\), .*; val lacks English springer"):
        prepare_imagenette5(tmp_path / "other", tmp_path / "cache", progress=False)
    with pytest.raises(FileNotFoundError, match="fourier-mask data imagenette5 PATH"): imagenette5(tmp_path / "other")


def test_broken_files_are_all_named_and_left_out_only_when_asked(source, tmp_path):
    train, val = files_of(source, "train"), files_of(source, "val")
    broken = [cut_short(train[1]), enlarge(val[4])]
    train[7].write_bytes(b"<html>not found</html>"); broken.insert(1, f"train/{train[7].parent.name}/{train[7].name}")
    out = tmp_path / "cache"
    named = f"3 of 25 JPEG files are broken: {', '.join(broken)}. "
    with pytest.raises(ValueError, match=named + "Copy them again, or leave them out with skip_broken=True"):
        prepare_imagenette5(source, out, size=32, progress=False)
    assert not out.exists() and not list(tmp_path.glob("*.part"))
    with pytest.warns(UserWarning, match="3 of 25 JPEG files are broken and were left out") as caught:
        prepare_imagenette5(source, out, size=32, skip_broken=True, progress=False)
    data, record = imagenette5(out, 32, check=True), read_record(out)
    assert len(caught) == 1 and record["broken"] == broken and (len(data.train), len(data.val)) == (13, 9)
    assert data.train.labels.bincount().tolist() == [2, 3, 2, 3, 3]
    assert data.val.labels.bincount().tolist() == [2, 2, 1, 2, 2]
    # there already: no second warning
    assert prepare_imagenette5(source, out, size=32, skip_broken=True, progress=False) == out
    with pytest.raises(ValueError, match="3 of 25"): prepare_imagenette5(source, out, size=32, progress=False)
    assert read_record(out, check=True) == record


def test_a_class_of_broken_files_is_refused_even_so(source, tmp_path):
    for file in files_of(source, "val")[:2]: cut_short(file)
    with pytest.raises(ValueError, match="no file of val English springer can be decoded"):
        prepare_imagenette5(source, tmp_path / "cache", size=32, skip_broken=True, progress=False)


def test_a_cache_is_reused_replaced_or_refused(source, tmp_path):
    out = tmp_path / "cache"
    prepare_imagenette5(source, out, size=32, progress=False)
    stamp = (out / "train_images.npy").stat().st_mtime_ns
    assert prepare_imagenette5(str(source.parent), str(out), size=32, progress=False) == out
    assert (out / "train_images.npy").stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match="holds images of size 32 .*; asked for size 40"):
        prepare_imagenette5(source, out, size=40, progress=False)
    with pytest.raises(ValueError, match="holds images of size 32; asked for size 128"): imagenette5(out)
    assert imagenette5(prepare_imagenette5(source, out, size=40, overwrite=True, progress=False), 40).size == (40, 40)
    files_of(source, "train")[0].unlink()
    with pytest.raises(ValueError, match="from other files"): prepare_imagenette5(source, out, size=40, progress=False)
    assert len(imagenette5(prepare_imagenette5(source, out, size=40, overwrite=True, progress=False), 40).train) == 14
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "cache.lock", "imagenette2-160"]


def test_a_folder_of_something_else_is_never_replaced(source, tmp_path):
    (tmp_path / "thesis").mkdir(); (tmp_path / "thesis" / "chapter1.tex").write_text("x")
    with pytest.raises(ValueError, match="holds something else"):
        prepare_imagenette5(source, tmp_path / "thesis", size=32, overwrite=True, progress=False)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "x"


def test_nothing_half_written_is_left_and_the_old_cache_stands(source, cache, tmp_path, monkeypatch):
    before = read_record(cache, check=True)
    def full(*args, **kwargs): raise OSError("No space left on device")
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        prepare_imagenette5(source, cache, size=40, overwrite=True, progress=False)
    assert read_record(cache, check=True) == before and not list(tmp_path.glob("*.part"))


def test_an_altered_cache_is_refused(source, cache):
    path, record = cache / "val_images.npy", json.loads((cache / "record.json").read_text())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=f"val_images.npy must have {len(whole)} bytes; got {len(whole) - 1}"):
        imagenette5(cache, 32)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="it was altered"): imagenette5(cache, 32, check=True)
    with pytest.raises(ValueError, match="it was altered"): prepare_imagenette5(source, cache, size=32, progress=False)
    prepare_imagenette5(source, cache, size=32, overwrite=True, progress=False)
    assert path.read_bytes() == whole
    path.unlink()
    with pytest.raises(ValueError, match="got 0"): imagenette5(cache, 32)
    prepare_imagenette5(source, cache, size=32, overwrite=True, progress=False)
    record = read_record(cache)
    for change, message in (
        (sealed(record | dict(version=3)), "format imagenette5, version 2; got imagenette5, version 3"),
        (record | dict(version=1), "has no checksum, as other versions wrote it. Make it again with"),
        (sealed(record) | dict(files={}), "cut short or altered"),
        ([], "cut short or altered"),
    ):
        (cache / "record.json").write_text(json.dumps(change))
        with pytest.raises(ValueError, match=message): imagenette5(cache, 32)
        with pytest.raises(ValueError, match=message):
            prepare_imagenette5(source, cache, size=32, progress=False)
        prepare_imagenette5(source, cache, size=32, overwrite=True, progress=False)  # the remedy that the error names
        assert read_record(cache, check=True) == record
    (cache / "record.json").unlink()
    with pytest.raises(ValueError, match="record.json is missing. Make it again with"): imagenette5(cache, 32)
    prepare_imagenette5(source, cache, size=32, overwrite=True, progress=False)
    (cache / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        prepare_imagenette5(source, cache, size=32, overwrite=True, progress=False)
    assert (cache / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("download", FOLDERS)
def test_fetching_asks_torchvision_for_both_parts(original, tmp_path, monkeypatch, download):
    asked = []
    def imagenette(root, split, size, download):
        asked.append((root, split, size, download))
        if not (root / FOLDERS[size]).exists(): shutil.copytree(original, root / FOLDERS[size])
    monkeypatch.setattr(torchvision.datasets, "Imagenette", imagenette)
    prepare_imagenette5(tmp_path / "here", tmp_path / "cache", size=32, download=download, progress=False)
    assert asked == [(tmp_path / "here", part, download, True) for part in ("train", "val")]
    assert read_record(tmp_path / "cache")["source"] == FOLDERS[download]
    # an Imagenette folder: nothing to fetch
    prepare_imagenette5(original, tmp_path / "cache", size=32, download=download, progress=False)
    assert len(asked) == 2
    with pytest.raises(ValueError, match="download must be one of full, 320px, 160px; got '64px'"):
        prepare_imagenette5(original, tmp_path / "c", download="64px")


# torch 2.14 resizes to a width of one pixel as if all rows were the first; so the oracle is asked from two pixels on
@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 48), st.integers(2, 48), st.booleans(), st.data())
def test_crops_are_torchvisions(height, width, out_height, out_width, mirror, data):
    "A position below 64 is rounded to 4e-6 in float32; it moves a pixel by at most two such steps in each direction."
    top, left = data.draw(st.integers(0, 40 - height)), data.draw(st.integers(0, 60 - width))
    images = torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    ours = cropped(
        images, torch.tensor([[top, left, height, width]] * 2), (out_height, out_width), torch.tensor([mirror, False])
    )
    oracle = transforms.resized_crop(images, top, left, height, width, [out_height, out_width], antialias=True)
    torch.testing.assert_close(ours[1], oracle[1], atol=2e-5, rtol=0)
    torch.testing.assert_close(ours[0], oracle[0].flip(-1) if mirror else oracle[0], atol=2e-5, rtol=0)


def test_a_crop_one_pixel_wide_by_hand():
    "Two rows to three: the first, their mean, the second; the columns are averaged."
    image = torch.tensor([[0.0, 0.2], [0.6, 1.0]])[None, None]
    one = cropped(image, torch.tensor([[0, 0, 2, 2]]), (3, 1), torch.tensor([False]))
    torch.testing.assert_close(one[0, 0, :, 0], torch.tensor([0.1, 0.45, 0.8]))


def test_crops_of_bytes_are_those_of_their_numbers():
    images = torch.randint(0, 256, (3, 1, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    boxes, flip = torch.tensor([[0, 0, 20, 30], [2, 3, 10, 11], [5, 5, 7, 20]]), torch.tensor([True, False, True])
    assert torch.equal(cropped(images, boxes, (8, 8), flip), cropped(images.float() / 255, boxes, (8, 8), flip))


@pytest.mark.parametrize(("height", "width"), [(160, 213), (214, 160), (31, 47), (10, 60), (60, 10), (1, 1)])
def test_boxes_are_drawn_as_torchvision_draws_them(height, width):
    "Means of eight things over two samples differ by less than five standard errors (one chance in 10^6 each)."
    n, draw = 2000, v2.RandomResizedCrop(8)
    torch.manual_seed(0)
    ours = crop_boxes(torch.tensor([[height, width]]).expand(n, 2)).double()
    image = torch.empty(1, height, width)
    theirs = torch.tensor([list(draw.make_params([image]).values()) for _ in range(n)]).double()
    assert (ours >= 0).all() and (ours[:, 2:] >= 1).all()
    assert (ours[:, :2] + ours[:, 2:] <= torch.tensor([height, width])).all()
    numbers = lambda b: torch.stack(
        [
            *b.unbind(1),
            b[:, 2] * b[:, 3],
            (b[:, 2] * b[:, 3]).square(),
            (b[:, 3] / b[:, 2]).log(),
            (b[:, 3] / b[:, 2]).log().square(),
        ],
        1,
    )
    a, b = numbers(ours), numbers(theirs)
    error = ((a.var(0) + b.var(0)) / n).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() <= 5 * error + 1e-12).all()


def test_a_batch_is_cropped_image_by_image_within_its_extent_and_mirrored_half_of_the_time():
    n, side = 1000, 24
    images = torch.full((n, 1, side, side), 255, dtype=torch.uint8)
    extent = torch.stack([torch.arange(n) % 9 + 8, torch.arange(n) % 7 + 10], 1)
    ramp = torch.arange(side, dtype=torch.uint8).expand(side, side)  # rises to the right
    for image, (height, width) in zip(images[:, 0], extent.tolist(), strict=True):
        image[:height, :width] = ramp[:height, :width]
    torch.manual_seed(0)
    out = random_resized_crop(images, extent, (12, 12))
    assert out.shape == (n, 1, 12, 12) and (255 * out.amax((1, 2, 3)) < extent[:, 1]).all()  # 255 lies outside
    mirrored = (out[:, 0, 0, 0] > out[:, 0, 0, -1]).double().mean().item()
    assert abs(mirrored - 0.5) < 5 * math.sqrt(0.25 / n)  # five standard errors
    # a ramp shows where a box begins and ends from left to right, in whole pixels
    assert len({image.numpy().tobytes() for image in out}) > 100
    whole = random_resized_crop(images[:, :, :8, :10], None, (8, 10), scale=(1.0, 1.0), ratio=(1.25, 1.25))
    assert all(
        torch.equal(x, y) or torch.equal(x, y.flip(-1))
        for x, y in zip(whole, images[:, :, :8, :10].float() / 255, strict=True)
    )


def test_a_residual_network_of_few_filters_is_refused():
    "It would end the process on a CPU: torch's backward pass through such a convolution writes outside its memory."
    with pytest.raises(ValueError, match="width must be at least 0.125 for resnet18; got 0.1, which leaves 6 filters"):
        ARCHITECTURES["resnet18"](5, width=0.1, size=(32, 32))


def test_what_is_as_large_as_the_network_wants_it_is_shown_as_it_is():
    x = torch.rand(2, 1, 6, 6)
    assert shown(x, None, (6, 6)) is x
    assert torch.equal(shown((x * 255).byte(), None, (6, 6)), (x * 255).byte().float() / 255)
    assert shown(x, None, (4, 4)).shape == (2, 1, 4, 4)
    assert shown(x, torch.tensor([[6, 5]] * 2), (6, 6)).shape == x.shape


@pytest.mark.parametrize("architecture", ["vgg11", "resnet18"])
@pytest.mark.parametrize("regime", ["natural", "adversarial", "rotation"])
def test_both_architectures_train_on_it_and_repeat(cache, architecture, regime):
    data, settings, state = (
        imagenette5(cache, 32),
        TINY.model_copy(update=dict(architecture=architecture)),
        torch.get_rng_state(),
    )
    (first, record), (again, record_again) = (train_network(data, regime, settings, progress=False) for _ in range(2))
    assert record == record_again and torch.equal(torch.get_rng_state(), state) and math.isfinite(record["val_ce"])
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert first.mean.item() == pytest.approx(0.449) and first.std.item() == pytest.approx(0.226)  # float32


def test_bf16_changes_little_and_tf32_nothing_without_a_gpu(cache):
    "bf16 keeps 8 bits: a relative error near 1/256 in each layer; after three steps the loss may move by some percent."
    data = imagenette5(cache, 32)
    (plain, a), (_, b), (tf32, c) = (
        train_network(data, "natural", TINY.model_copy(update=dict(precision=p)), progress=False)
        for p in ("float32", "bf16", "tf32")
    )
    assert a == c and a["val_ce"] != b["val_ce"] == pytest.approx(a["val_ce"], rel=0.1)
    assert all(p.dtype == torch.float32 for p in tf32.parameters())
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), tf32.parameters(), strict=True))


# torch's compiler looks, and hides the warning itself unless warnings are errors
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("regime", ["natural", "adversarial"])
def test_compiled_training_gives_the_same_plain_network(monkeypatch, regime):
    "With a backend that keeps every operation, the compiled network is the plain one to the last bit."
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    data = fashion5(20, 10)
    (plain, a), (compiled, b) = (
        train_network(data, regime, TINY.model_copy(update=dict(compile=c, batch_size=10)), progress=False)
        for c in (False, True)
    )
    assert a == b and type(plain) is type(compiled) and plain.state_dict().keys() == compiled.state_dict().keys()


class Transfers(TorchDispatchMode):
    "Refuse to copy anything to the pretended device."

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in (*args, out) if isinstance(x, torch.Tensor) and x.dim()}
        assert func not in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default) or len(devices) <= 1, (
            f"{func} copies between {devices}"
        )
        return out


@pytest.mark.parametrize("regime", REGIMES)
def test_a_step_reads_nothing_back_from_the_device(regime):
    "On the meta device there are no values: whatever asks for one raises. It stands for a GPU that nobody waits for."
    data = Data(
        "x",
        ("a", "b"),
        Images(torch.zeros(4, 1, 44, 40, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), torch.tensor([[44, 33]] * 4)),
        Images(torch.zeros(2, 1, 32, 32), torch.tensor([0, 1])),
        given_mean=0.4,
        given_std=0.2,
    )
    model = new_network(data, TINY).to("meta")
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    x, y, extent = (t.to("meta") for t in (data.train.images, data.train.labels, data.train.extent))
    with Transfers(): train_step(model, augment(shown(x, extent, data.size), regime), y, optimizer, TINY, regime)
    with pytest.raises(RuntimeError, match="meta"): y.sum().item()


@pytest.mark.parametrize("size", [(6, 5), (6, 6), (4, 1)])
def test_a_mask_is_applied_without_an_index_that_would_be_copied_to_a_gpu(size):
    "A list of columns becomes a tensor on the processor first, and copying that makes the device wait; slices do not."
    class Indexing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert "index" not in func.__name__, func
            return func(*args, **(kwargs or {}))

    layer = FourierMask(size)
    with Indexing():
        (layer(torch.zeros(2, 1, *size)).sum() + layer.norm(1).sum()).backward()
        with pytest.raises(AssertionError, match="aten.index"): layer.weight[..., [0]]
