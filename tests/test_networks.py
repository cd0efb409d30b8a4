"Networks as the libraries build them, with random weights: masks, and a mask's objective computed by other code."
import pytest
import timm
import torch
import torchvision
import transformers
from conftest import ROOT
from timm.models.mlp_mixer import MlpMixer
from torch import nn

from fourier_mask import Normalized, learn_image_masks
from fourier_mask.models import vgg11

SIZE, CLASSES = 32, 5
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]


def vit_of_transformers():
    config = transformers.ViTConfig(image_size=SIZE, patch_size=8, hidden_size=16, num_hidden_layers=2,
                                    num_attention_heads=2, intermediate_size=32, num_labels=CLASSES)
    return transformers.ViTForImageClassification(config)


NETWORKS = {
    "timm's ViT": lambda: timm.create_model("test_vit", img_size=SIZE, num_classes=CLASSES),
    "timm's ConvNeXt": lambda: timm.create_model("test_convnext", num_classes=CLASSES),
    "timm's ResNet": lambda: timm.create_model("test_resnet", num_classes=CLASSES),
    "timm's EfficientNet": lambda: timm.create_model("test_efficientnet", num_classes=CLASSES),
    "timm's Mixer": lambda: MlpMixer(CLASSES, SIZE, patch_size=8, num_blocks=2, embed_dim=16),
    "torchvision's ResNet": lambda: torchvision.models.resnet18(num_classes=CLASSES),
    "torchvision's MobileNet": lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES),
    "torchvision's ViT": lambda: torchvision.models.VisionTransformer(SIZE, 8, 2, 2, 16, 32, num_classes=CLASSES),
    "transformers' ViT": vit_of_transformers,
}


def logits_of(out): return getattr(out, "logits", out)


def objective_by_hand(model, images, masks, weight):
    "Eq. 2 of each image, without the package: centred, filtered, asked."
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))
    centred = (images - mean) / std
    filtered = torch.fft.ifft2(masks.masks * torch.fft.fft2(centred)).real
    with torch.no_grad(): clean, masked = (logits_of(model.model(x)).double() for x in (centred, filtered))
    losses = [nn.functional.cross_entropy(out, clean.argmax(1), reduction="none") for out in (masked, clean)]
    return (losses[0] - losses[1]).square().exp() + weight * masks.masks.double().mean((1, 2, 3))


@pytest.fixture(params=NETWORKS)
def network(request):
    "One that answers differently to different images: its logits are brought to a deviation of about two."
    torch.manual_seed(0)
    made = NETWORKS[request.param]()
    images = torch.rand(64, 3, SIZE, SIZE)
    head = [module for module in made.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.normal_(head.weight)  # zeros in some, as they are built
    nn.init.zeros_(head.bias)
    with torch.no_grad():
        for _ in range(5): made(images)  # statistics for batch norms
        head.weight.mul_(2 / logits_of(made.eval()(images)).std(0).mean())
    return Normalized(made.train(), MEAN, STD)


def test_masks_and_their_objective(network):
    images, state = torch.rand(5, 3, SIZE, SIZE), {k: v.clone() for k, v in network.state_dict().items()}
    masks = learn_image_masks(network, images, weight=0.5, output_fn=logits_of, progress=False)
    assert network.training and all(module.training for module in network.modules())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    network.eval()
    value = objective_by_hand(network, images, masks, 0.5)
    torch.testing.assert_close(masks.objective.double(), value, rtol=2e-4, atol=0)  # float32 logits, folded or not
    assert (value < 1.5).all()  # that of a mask of ones, and of no step
    assert masks.prediction_kept.all() and (masks.sparsity < 0.9).all()
    as_function = learn_image_masks(Normalized(Hidden(network.model), MEAN, STD), images, weight=0.5,
                                    output_fn=logits_of, progress=False)  # which nothing can follow or fold
    assert (as_function.objective - masks.objective).abs().max() < 0.05  # the same problem, rounded otherwise


class Hidden(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        if not x.isfinite().all(): raise ValueError("not finite")  # depends on values: torch.fx cannot follow
        return self.model(x)


@pytest.mark.parametrize("network", ["timm's ViT", "transformers' ViT"], indirect=True)
def test_a_dictionary_and_a_tuple(network):
    images, inner = torch.rand(4, 3, SIZE, SIZE), network.model.eval()
    plain = learn_image_masks(lambda x: logits_of(inner(x)), images, "predicted", progress=False)
    for wrap, pick in ((lambda out: {"logits": out}, lambda out: out["logits"]),
                       (lambda out: (0, out), lambda out: out[1])):
        wrapped = learn_image_masks(lambda x, wrap=wrap: wrap(logits_of(inner(x))), images, "predicted",
                                     output_fn=pick, progress=False)
        assert torch.equal(wrapped.masks, plain.masks)


@pytest.mark.parametrize("width", [0.125, 1])
def test_vgg11_is_torchvisions_before_its_head(width):
    "Layer by layer, the first by its other number of channels, and weight by weight from one seed."
    widths = [layer if layer == "M" else int(layer * width) for layer in torchvision.models.vgg.cfgs["A"]]
    torch.manual_seed(0)
    theirs = torchvision.models.vgg.make_layers(widths, batch_norm=True)
    torch.manual_seed(0)
    ours = vgg11(CLASSES, 1, width)[0]
    assert str(ours[1:]) == str(theirs[1:]) and str(ours[0]).replace("Conv2d(1", "Conv2d(3") == str(theirs[0])
    pairs = zip(ours[1:].state_dict().items(), theirs[1:].state_dict().items(), strict=True)
    assert all(name == name_there and torch.equal(value, there) for (name, value), (name_there, there) in pairs)


def test_the_page_for_own_networks_shows_them():
    text = (ROOT / "nbs" / "howto" / "own_network.ipynb").read_text(encoding="utf-8")
    for word in ("from_timm", "from_torchvision", "AutoModelForImageClassification", "output_fn"): assert word in text
