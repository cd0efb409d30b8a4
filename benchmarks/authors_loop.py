"""The authors' loop for masks of single images, written down plainly, one at a time and for many at once.

It shares nothing with the package: the full plane, torch's own Adam and one-cycle schedule, three passes a
step (forward, back to the image, forward again for the prediction), and their rule to stop: 300 steps in a row in
which the squared difference of the losses moves by at most 1e-6 and the norm by at most 1e-5, with the prediction as
at the start.
"""
import torch
import torch.nn.functional as F

RATE, MOST, PATIENCE, SAME = 0.2, 20_000, 300, (1e-6, 1e-5)


def filtered(x, masks): return torch.fft.ifft2(masks * torch.fft.fft2(x)).real


def optimizer_of(masks):
    optimizer = torch.optim.Adam([masks], lr=RATE)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, epochs=MOST, steps_per_epoch=200, pct_start=0.1)
    return optimizer, rates


def one(network, x, y, most: int = MOST, weight: float = 0.07):
    "A single image, as their code takes it: the mask, the steps, and whether the rule was met."
    with torch.no_grad(): clean = network(x)
    loss_clean, said = F.cross_entropy(clean, y), clean.argmax(1)
    mask = torch.ones(x.shape[-2:], device=x.device, requires_grad=True)
    optimizer, schedule = optimizer_of(mask)
    count, last = 0, None
    for step in range(1, most + 1):
        change = (F.cross_entropy(network(filtered(x, mask)), y) - loss_clean) ** 2
        norm = mask.abs().sum() / mask.numel()
        (torch.exp(change) + weight * norm).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        with torch.no_grad():
            mask.clamp_(0, 1)
            now = change.item(), norm.item()
            same = network(filtered(x, mask)).argmax(1) == said
            quiet = last is not None and abs(now[0] - last[0]) <= SAME[0] and abs(now[1] - last[1]) <= SAME[1]
            if last is not None and same: count = count + 1 if quiet else 0
        last = now
        if count == PATIENCE: return mask.detach(), step, True
    return mask.detach(), most, False


def many(network, x, y, most: int = MOST, weight: float = 0.07, start: float = 1.0):
    """The same for a batch of independent masks: (b, 1, h, w), the steps of each, and whether its rule was met.

    Adam and the schedule treat each entry by itself and all masks begin together, so one Adam over the batch takes each
    mask's own steps; a mask is put aside at the step at which its rule is met. Those put aside leave the batch."""
    n, device = len(x), x.device
    with torch.no_grad(): clean = torch.cat([network(part) for part in x.split(64)])
    loss_clean, said = F.cross_entropy(clean, y, reduction="none"), clean.argmax(1)
    final, steps = torch.ones(n, 1, *x.shape[-2:], device=device), torch.full((n,), most)
    met, left = torch.zeros(n, dtype=torch.bool), torch.arange(n, device=device)
    masks = (start * final).requires_grad_()  # theirs start at 1
    count, last = torch.zeros(n, dtype=torch.long, device=device), None
    optimizer, schedule = optimizer_of(masks)
    for step in range(1, most + 1):
        now = torch.empty(len(left), 2, device=device)
        for rows in torch.arange(len(left), device=device).split(64):
            own, images, labels = left[rows], x[left[rows]], y[left[rows]]
            loss = F.cross_entropy(network(filtered(images, masks[rows])), labels, reduction="none")
            change, norm = (loss - loss_clean[own]) ** 2, masks[rows].abs().mean((1, 2, 3))
            (torch.exp(change) + weight * norm).sum().backward()
            now[rows, 0], now[rows, 1] = change.detach(), norm.detach()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        with torch.no_grad():
            masks.clamp_(0, 1)
            parts = torch.arange(len(left), device=device).split(64)
            same = torch.cat([network(filtered(x[left[rows]], masks[rows])).argmax(1) for rows in parts]) == said[left]
            if last is not None:
                quiet = ((now - last).abs() <= torch.tensor(SAME, device=device)).all(1)
                count = torch.where(same, torch.where(quiet, count + 1, 0), count)
        last, reached = now, (count == PATIENCE) & ~met.to(device)[left]
        if reached.any():
            rows = left[reached]
            final[rows], steps[rows.cpu()], met[rows.cpu()] = masks.detach()[reached], step, True
        if step % 50 or not met.to(device)[left].any(): continue
        stay = ~met.to(device)[left]
        if not stay.any(): break
        state = optimizer.state[masks]
        left, count, last, kept = left[stay], count[stay], last[stay], masks.detach()[stay].requires_grad_()
        optimizer.param_groups[0]["params"] = [kept]
        optimizer.state.clear()
        optimizer.state[kept] = {name: value[stay] if value.ndim else value for name, value in state.items()}
        masks = kept
    still = ~met.to(device)[left]
    final[left[still]] = masks.detach()[still]
    return final, steps, met
