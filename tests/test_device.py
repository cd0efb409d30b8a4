"What is changed for a while comes back: modes, gradients, switches, generators, the environment; also after an error."
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fourier_mask import device
from fourier_mask.device import (
    asked_device,
    choose_device,
    computing,
    free_memory,
    frozen,
    on_device,
    peak_mb,
    seeded,
    threads,
)


@given(st.lists(st.booleans(), min_size=4, max_size=4), st.lists(st.booleans(), min_size=3, max_size=3), st.booleans())
def test_a_frozen_network_comes_back_as_it_was(modes, needed, fails):
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2), nn.Dropout())
    for module, mode in zip(network.modules(), modes, strict=True): module.training = mode
    for parameter, need in zip(network.parameters(), needed, strict=True): parameter.requires_grad_(need)
    try:
        with frozen(network):
            assert not any(module.training for module in network.modules())
            assert not any(parameter.requires_grad for parameter in network.parameters())
            if fails: raise InterruptedError
    except InterruptedError: pass
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == needed


@pytest.mark.parametrize("callers", ["ieee", "tf32"])
def test_the_callers_precision_holds_again_after_an_error(callers):
    switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches: switch.fp32_precision = callers
        for precision, inside in (("float32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")):
            with pytest.raises(InterruptedError), computing(precision):
                assert [switch.fp32_precision for switch in switches] == [inside] * 2
                raise InterruptedError
            assert [switch.fp32_precision for switch in switches] == [callers] * 2
    finally:
        for switch, value in zip(switches, before, strict=True): switch.fp32_precision = value


def test_draws_follow_from_the_seed_and_leave_nothing_behind():
    before = torch.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        with pytest.raises(InterruptedError), seeded(seed, torch.device("cpu")):
            drawn.append(torch.rand(5))
            raise InterruptedError
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_are_what_torch_uses_whatever_the_environment_asks_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")  # a list, as for nested regions, is no number
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert threads() == 3
    finally: torch.set_num_threads(before)


@pytest.mark.parametrize(("limit", "room"), [("max", None), (None, None), (10**6, 10**6)])
def test_memory_is_what_a_container_allows(monkeypatch, tmp_path, limit, room):
    "`max`, or no file, is no limit; a limit counts what this process holds already."
    file = tmp_path / "memory.max"
    if limit is not None: file.write_text(str(limit + psutil.Process().memory_info().rss if room else limit))
    monkeypatch.setattr(device, "Path", lambda path: file if path == "/sys/fs/cgroup/memory.max" else Path(path))
    free = free_memory(torch.device("cpu"))
    if room is None: assert free > 10**7  # the machine's
    else: assert abs(free - room) < 10**7  # what the process has taken or given back since


@pytest.mark.parametrize(("platform", "own", "children"), [("linux", 3072, 5120), ("darwin", 3, 5)])
def test_the_peak_is_counted_in_the_systems_unit(monkeypatch, platform, own, children):
    usage = {"self": 3 * 2**20, "children": 5 * 2**20}
    unix = SimpleNamespace(RUSAGE_SELF="self", RUSAGE_CHILDREN="children",
                           getrusage=lambda of: SimpleNamespace(ru_maxrss=usage[of]))
    monkeypatch.setitem(sys.modules, "resource", unix)
    monkeypatch.setattr(sys, "platform", platform)
    assert (peak_mb(), peak_mb(children=True)) == (own, children)


def test_the_peak_is_psutils_where_the_system_keeps_none(monkeypatch):
    windows = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=2**20, peak_wset=7 * 2**20))
    monkeypatch.setitem(sys.modules, "resource", None)  # cannot be imported
    monkeypatch.setattr(psutil, "Process", lambda: windows)
    assert (peak_mb(), peak_mb(children=True)) == (7, None)


def test_the_peak_stays_when_memory_is_given_back():
    before = psutil.Process().memory_info().rss / 2**20
    torch.ones(100, 2**18)  # of 1 MB each
    assert peak_mb() > before + 90


def test_a_device_is_asked_for_as_long_as_the_context_lasts(monkeypatch):
    monkeypatch.delenv("FOURIER_MASK_DEVICE")
    with pytest.raises(InterruptedError), on_device("cuda:7"):
        assert asked_device() == "cuda:7"
        with on_device(None): assert asked_device() == "cuda:7"
        with on_device("cpu"): assert choose_device() == torch.device("cpu")
        assert asked_device() == "cuda:7"
        raise InterruptedError
    assert asked_device() is None


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cpu:cpu", "meta"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name):
    with pytest.raises(ValueError, match=f"device '{name}' is not to be had here; there are cpu"): choose_device(name)
