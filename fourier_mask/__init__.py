__version__ = "0.1.0"

from fourier_mask.dataset_mask import learn_dataset_mask
from fourier_mask.learn import learn_image_masks
from fourier_mask.mask import FourierMask, MaskSet, Normalized, complement
from fourier_mask.spectrum import angular_energy, radial_energy

__all__ = ["FourierMask", "MaskSet", "Normalized", "angular_energy", "complement", "learn_dataset_mask", "learn_image_masks", "radial_energy"]
