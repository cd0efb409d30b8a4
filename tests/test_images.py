"Images of every kind, and networks as users have them: what comes in, where the mask stands, what is kept."
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small import in_unit, small_images, small_network
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fourier_mask import (
    ImageFiles,
    MaskSet,
    Normalized,
    Reading,
    learn_dataset_mask,
    learn_image_masks,
    read_images,
    store_image_masks,
)
from fourier_mask.goal import NEAR, Keep, cross_entropy, held, lead_of

X, Y = small_images()
QUIET = dict(progress=False)


class Yields(Dataset):
    def __init__(self, items): self.items = items
    def __len__(self): return len(self.items)
    def __getitem__(self, row): return self.items[row]


def folder_of(path, images, classes=("cat", "dog")):
    "Files without loss, alternately in the folders of two classes."
    for row, image in enumerate(images):
        file = path / classes[row % 2] / f"{row:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().byte().numpy()).save(file)
    return path


@pytest.mark.parametrize("kind", [
    lambda x, y: x.numpy(), lambda x, y: list(zip(x, y, strict=True)), lambda x, y: TensorDataset(x, y),
    lambda x, y: Yields([dict(image=a, label=int(b)) for a, b in zip(x, y, strict=True)]), lambda x, y: list(x),
    lambda x, y: DataLoader(TensorDataset(x, y), 5), lambda x, y: Yields([a.numpy() for a in x]),
], ids=["array", "list of pairs", "data set", "dictionaries", "images alone", "loader", "arrays alone"])
def test_masks_do_not_depend_on_how_images_are_handed_over(kind):
    masks, direct = (learn_image_masks(small_network(), images, **QUIET) for images in (kind(X, Y), X))
    assert torch.equal(masks.masks, direct.masks) and torch.equal(masks.labels, small_network()(X).argmax(1))


def test_labels_of_a_data_set_count_where_they_are_asked_for(tmp_path):
    pairs, network = TensorDataset(X, Y), small_network()
    given = learn_image_masks(network, pairs, "given", **QUIET)
    assert torch.equal(given.labels, Y) and torch.equal(given.masks, learn_image_masks(network, X, Y, **QUIET).masks)
    stored = [MaskSet.load(store_image_masks(tmp_path / f"{i}.zarr", network, pairs, *labels, **QUIET)).labels
              for i, labels in enumerate([(), ("given",), (Y.numpy(),)])]
    assert torch.equal(stored[0], network(X).argmax(1)) and torch.equal(stored[1], Y) and torch.equal(stored[2], Y)
    whole = [learn_dataset_mask(network, images, labels, **QUIET).masks for images, labels in
             ((pairs, "given"), (X, Y), (X, "predicted"), (X, network(X).argmax(1)))]
    assert torch.equal(whole[0], whole[1]) and torch.equal(whole[2], whole[3])


def test_a_folder_is_read_as_the_network_wants_it(tmp_path):
    images, network = in_unit(X).float(), small_network().float()
    model = Normalized(network, 0.25, 0.25, Reading((6, 5), channels=1))
    path = folder_of(tmp_path / "photos", images)
    files, (read, labels) = ImageFiles(path, model.reading), read_images(path, model=model)
    order = [int(file.stem) for file in files.files]
    assert order == [*range(0, 12, 2), *range(1, 12, 2)] and files.classes == ("cat", "dog")
    assert labels.tolist() == [0] * 6 + [1] * 6
    torch.testing.assert_close(read, images[order], rtol=0, atol=0.5 / 255 + 1e-6)  # a file holds whole bytes
    assert torch.equal(learn_image_masks(model, path, **QUIET).masks, learn_image_masks(model, read, **QUIET).masks)
    there = MaskSet.load(store_image_masks(tmp_path / "masks.zarr", model, str(path), **QUIET))
    assert torch.equal(there.masks, learn_image_masks(model, read, **QUIET).masks)
    with pytest.raises(ValueError, match="images .* is a folder, and model does not say at what size"):
        learn_image_masks(network, path, **QUIET)


def test_a_broken_file_is_named_and_left_out_on_request(tmp_path):
    path = folder_of(tmp_path, in_unit(X))
    (path / "cat" / "04.png").write_bytes((path / "cat" / "04.png").read_bytes()[:40])
    (path / "dog" / "notes.txt").write_text("no picture")
    reading = Reading((6, 5), channels=1)
    with pytest.raises(OSError, match="04.png is no image that can be read.*skip_broken=True"):
        read_images(ImageFiles(path, reading))
    with pytest.warns(UserWarning, match=r"1 of 12 images in .* cannot be read and are left out: cat/04.png"):
        files = ImageFiles(path, reading, skip_broken=True)
    assert len(read_images(files)[0]) == 11 and "04" not in {file.stem for file in files.files}


@pytest.mark.parametrize("size", [(6, 5), (5, 6), (2, 2), (40, 3), (7, 64)])
@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (8, 8), (200, 3)])
def test_any_picture_fills_any_size_and_is_never_stretched(size, shape):
    "Against the same picture twice as large: its middle is the same, whatever is cut off."
    columns = torch.linspace(0, 1, shape[1]).expand(shape).mul(255).byte()
    image = Reading(size, channels=1, interpolation="bilinear")(Image.fromarray(columns.numpy()))
    assert image.shape == (1, *size) and 0 <= image.min() and image.max() <= 1
    middle = image.mean().item()
    assert abs(middle - 0.5) < 0.6 / size[1]  # the middle of a ramp is a half, to half a pixel that is cut off


def test_a_network_behind_a_function_is_frozen_like_any_other():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 3))
    network = network.double().eval()
    direct = learn_image_masks(network, X, **QUIET)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    class Around:
        def __init__(self): self.network = network
        def __call__(self, x): return self.network(x)
        def method(self, x): return self(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (lambda x: network(x), partial(lambda net, x: net(x), network), Around(), Around().method):
            assert torch.equal(learn_image_masks(model, X, **QUIET).masks, direct.masks)
    assert network.training and all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_what_apply_gives_back_is_what_the_learner_saw():
    "The first term of Eq. 2, by hand, from images in [0, 1]."
    images, model = in_unit(X), Normalized(small_network(), 0.25, 0.0625).double()
    masks = learn_image_masks(model, images, weight=0.01, **QUIET)
    said, left = model(images), model(masks.apply(images))
    moved = F.cross_entropy(left, said.argmax(1), reduction="none") - F.cross_entropy(said, said.argmax(1),
                                                                                     reduction="none")
    torch.testing.assert_close(moved.square().exp().float(), masks.invariance, rtol=0, atol=2e-6)  # float32 storage
    assert masks.settings["center"] == {"mean": [0.25], "std": [0.0625]} and len(masks.settings["network"]) == 64
    whole = learn_dataset_mask(model, images, "predicted", weight=0.01, **QUIET)
    for name in ("center", "network"): assert whole.settings[name] == masks.settings[name]
    assert "center" not in learn_image_masks(small_network(), X, **QUIET).settings


def test_images_that_are_bytes_or_centred_already_are_noticed_at_every_door(tmp_path):
    images, model = in_unit(X), Normalized(small_network(), 0.25, 0.0625).double()
    for wrong, remedy in ((255 * images, "Divide bytes by 255"), (model.center(images), "centred already")):
        for learn in (learn_image_masks, learn_dataset_mask, partial(store_image_masks, tmp_path / "masks.zarr")):
            with pytest.raises(ValueError, match=rf"images must lie in \[0, 1\] for a Normalized model.*{remedy}"):
                learn(model, wrong, Y, **QUIET)
    later = images.clone()
    later[-1] *= 3  # not among the first, on which the model is tried
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"): learn_image_masks(model, later, **QUIET)


def test_a_prediction_that_hangs_by_a_thread_is_kept():
    "Class 1 is a little below class 0 where the image holds a third wave, and as much above it where it does not."
    line = torch.arange(16.0)
    first, third = (torch.cos(2 * torch.pi * k * line / 16).expand(1, 16, 16) for k in (2, 5))

    def network(x):
        a, c = (x * first).mean((1, 2, 3)), (x * third).mean((1, 2, 3))
        return 20 * torch.stack([a, a - 0.016 * c + 0.002, -a], 1)

    images = (0.5 * first + 0.5 * third)[None].repeat(4, 1, 1, 1)
    lead = lead_of(torch.zeros(4, dtype=torch.long), network(images))
    assert (lead > 0).all() and (lead < NEAR).all()
    asked = dict(weight=0.5, **QUIET)
    kept, free = (learn_image_masks(network, images, keep_prediction=keep, **asked) for keep in (True, False))
    assert kept.prediction_kept.all() and kept.converged.all() and not free.prediction_kept.any()
    assert (kept.masks[:, 0, 0, 5] > 0.01).all() and (free.masks[:, 0, 0, 5] < 0.01).all()
    assert (kept.objective - 1 < 3 * (free.objective - 1) + 0.01).all()  # dearer, and far from the mask of ones


def test_an_answer_in_no_danger_costs_nothing_and_a_lost_one_pulls_back():
    clean, said = torch.tensor([[2.0, 0, -1]]), torch.tensor([0])
    safe = torch.tensor([[1.5, 1.3, -1]])
    residual = Keep().residual(safe, clean, said, cross_entropy)
    assert torch.equal(held(residual, safe, clean), residual)
    lost = torch.tensor([[1.0, 1.2, -1]], requires_grad=True)
    residual = Keep().residual(lost, clean, said, cross_entropy)
    by_hand = (residual.square() + (NEAR + 0.2) ** 2).sqrt()  # short by what is wanted, and what is lost
    torch.testing.assert_close(held(residual, lost, clean), by_hand)
    flat = torch.rand(3, 1)
    assert torch.equal(held(flat[:, 0], flat, flat), flat[:, 0])  # no classes, nothing to be kept


@pytest.mark.parametrize(("call", "message"), [
    (lambda path: Reading((0, 4)), "size must"), (lambda path: Reading((9, 9), resize=8), "resize must be at least"),
    (lambda path: Reading((4, 4), channels=4), "channels must be 1"),
    (lambda path: Reading((4, 4), interpolation="area"), "interpolation must be one of"),
    (lambda path: ImageFiles(path, Reading((4, 4))), "path .* holds no image"),
    (lambda path: ImageFiles(path / "none", Reading((4, 4))), "path .* is no folder"),
    (lambda path: ImageFiles(path, 224), "reading must be a Reading"),
    (lambda path: read_images(np.zeros((2, 1, 4, 4), complex)), "images must"),
    (lambda path: learn_image_masks(lambda x: x.flatten(1)[:, :1], X, **QUIET), "at least two classes.*loss="),
])
def test_what_cannot_be_read_is_refused_by_name(tmp_path, call, message, annotations_off):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message): call(tmp_path)
