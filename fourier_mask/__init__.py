__version__ = "0.1.0"

from fourier_mask.dataset_mask import learn_class_masks, learn_dataset_mask
from fourier_mask.images import ImageFiles, read_images
from fourier_mask.learn import learn_image_masks
from fourier_mask.mask import FourierMask, complement
from fourier_mask.mask_folder import store_image_masks
from fourier_mask.mask_set import MaskSet
from fourier_mask.minimal import minimal_sufficient
from fourier_mask.models import Normalized, Reading
from fourier_mask.path import learn_mask_path
from fourier_mask.shards import open_masks
from fourier_mask.spectrum import angular_energy, radial_energy

__all__ = [
    "FourierMask", "ImageFiles", "MaskSet", "Normalized", "Reading", "angular_energy", "complement",
    "learn_class_masks", "learn_dataset_mask", "learn_image_masks", "learn_mask_path", "minimal_sufficient",
    "open_masks", "plot_mask_set", "radial_energy", "read_images", "store_image_masks",
]


def __getattr__(name: str):
    "The picture is imported when it is asked for: matplotlib would double the time that this import takes."
    if name != "plot_mask_set": raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fourier_mask.mask_pictures import plot_mask_set
    return plot_mask_set


def __dir__() -> list[str]: return sorted({*globals(), *__all__})
