"Eq. 2 and the authors' loop written down plainly, on the full plane by torch's own parts: what learners are held to."
import torch
import torch.nn.functional as F

from fourier_mask.authors import order_of
from fourier_mask.goal import Keep


class AnyAnswer(Keep):
    "Eq. 2 and nothing else: the best mask is the lowest, whatever class it names."

    def met(self, out, clean): return torch.ones(len(out))


def filtered(planes, x):
    "Section 2.1, over all axes but the first two."
    axes = tuple(range(2, x.ndim))
    return torch.fft.ifftn(planes * torch.fft.fftn(x, dim=axes), dim=axes).real


def moved(model, planes, x, y):
    "By how much masks move the loss of each image."
    with torch.no_grad(): clean = F.cross_entropy(model(x), y, reduction="none")
    return F.cross_entropy(model(filtered(planes, x)), y, reduction="none") - clean


def least_objectives(model, x, y, weight=0.07, steps=500, shared=False):
    """Eq. 2 as the paper has it, by Adam near 0.008 on full planes, for so long that they have settled: a plane for
    each image, which do not touch each other in a sum of terms and in Adam by entry; or one shared by all.
    Returns the least that exceeds 1, and its planes."""
    planes = torch.ones_like(x[:1] if shared else x).requires_grad_()
    optimizer = torch.optim.Adam([planes], 0.008)
    least, best = torch.full((len(planes),), torch.inf, dtype=x.dtype), planes.detach().clone()
    for _ in range(steps):
        costs = torch.expm1(moved(model, planes, x, y) ** 2)
        values = (costs.mean(0, keepdim=True) if shared else costs) + weight * planes.flatten(1).mean(1)
        lower = values.detach() < least
        least, best[lower] = torch.where(lower, values.detach(), least), planes.detach()[lower]
        optimizer.zero_grad()
        values.sum().backward()
        optimizer.step()
        with torch.no_grad(): planes.clamp_(0, 1)
    return least, best


def authors_planes(model, x, y, order, max_lr, weight, stretch=1, start=None):
    """The authors' algorithm: one image a step in this order, and torch's one-cycle schedule as it comes, laid out for
    so many times the steps. Returns the plane before the first step and after each."""
    plane = (torch.ones(x.shape[2:], dtype=x.dtype) if start is None else start.clone()).requires_grad_()
    optimizer = torch.optim.Adam([plane], max_lr, betas=(0.95, 0.999))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=stretch * len(order), pct_start=0.1)
    planes = [plane.detach().clone()]
    for i in order:
        change = moved(model, plane, x[i : i + 1], y[i : i + 1])
        loss = torch.exp(change**2).mean() + weight * plane.mean()  # abs would rest at 0 with slope 0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad(): plane.clamp_(0, 1)
        planes.append(plane.detach().clone())
    return torch.stack(planes)


def orders(seed, epochs, n):
    "The images of a data set, epoch by epoch, in the order that learners draw."
    return [i for epoch in range(epochs) for i in order_of(seed, epoch, n).tolist()]
