"Many workers: the same masks whoever computes them; workers that are killed or do not fit, shards that fail."
import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from distributed import Client, Future, LocalCluster
from small import small_images, small_network
from torch import nn
from torch.utils.data import TensorDataset

from fourier_mask import MaskSet, cluster, learn_image_masks, store_image_masks
from fourier_mask.basis import Linear
from fourier_mask.cluster import TRIES, connect, spread
from fourier_mask.learner import MOST_IMAGES, find_batch_size, parts_of
from fourier_mask.mask_set import PER_MASK
from fourier_mask.runner import Task, run_tasks
from fourier_mask.settings import ImageMaskSettings
from fourier_mask.store import checksums
from fourier_mask.workers import Unfinished

# sockets that dask leaves to the garbage collector when a worker is killed
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SETTINGS = dict(batch_size=4, progress=False)


@pytest.fixture(scope="module")
def pair():
    with connect(workers=2) as client: yield client


class Watched(nn.Module):
    "Notes in a file each shard that is begun and its process; slow enough to be killed; refuses `bad` images."

    def __init__(self, log, seconds=0.0, bad=None):
        super().__init__()
        self.inner, self.log, self.seconds, self.bad, self.begun = small_network(), str(log), seconds, bad, False

    def __getstate__(self): return self.__dict__ | {"begun": False}  # of the copy that a worker takes for each shard

    def forward(self, x):
        if not self.begun:
            self.begun = True
            with open(self.log, "a") as file: file.write(f"{os.getpid()} {x[0, 0, 0, 0].item()}\n")
        if self.bad is not None and (x[:, 0, 0, 0] == self.bad).any():
            raise ArithmeticError("this image is not to be learned")
        time.sleep(self.seconds)
        return self.inner(x)


def same(a, b): return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("masks", *PER_MASK))


def lines(path): return Path(path).read_text().split("\n")[:-1]


def test_two_workers_learn_what_one_process_learns(pair):
    model, (x, y) = small_network(), small_images(10)
    alone = learn_image_masks(model, x, y, **SETTINGS)
    together = learn_image_masks(model, x, y, client=pair, **SETTINGS)
    assert same(alone, together) and alone.settings == together.settings
    # the caller's network is as it was
    assert together.index.tolist() == list(range(10)) and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("n", [1, 9])
def test_a_shard_of_one_image_is_learned_as_in_one_process(pair, n):
    "The last of nine has a shard to itself, which is filled up; a single image has no company anywhere, and is not."
    model, (x, y) = small_network(), small_images(n)
    alone, together = (learn_image_masks(model, x, y, client=client, **SETTINGS) for client in (None, pair))
    assert same(alone, together)


def test_another_basis_part_and_loss_reach_the_workers(pair):
    "A matrix of one's own, once for all shards."
    x, _ = small_images(5)
    matrix = torch.linalg.qr(torch.rand(30, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    asked = dict(basis=Linear(matrix, (6, 5)), part="amplitude", loss="squared_error", weight=0.01) | SETTINGS
    alone, together = (learn_image_masks(small_network(), x, client=client, **asked) for client in (None, pair))
    assert same(alone, together) and together.held.keys() == alone.held.keys()


def test_the_stores_of_one_process_of_one_worker_and_of_two_are_equal(pair, tmp_path):
    model, (x, y) = small_network(), small_images(10)
    learn = lambda name, client: checksums(
        store_image_masks(tmp_path / name, model, x, y, shard_size=4, client=client, **SETTINGS)
    )
    alone = learn("alone.zarr", None)
    assert learn("two.zarr", pair) == alone
    with connect(workers=1) as client: assert learn("one.zarr", client) == alone
    data = TensorDataset(x, y)  # read by the workers themselves
    stored = store_image_masks(tmp_path / "data.zarr", model, data, "given", shard_size=4, client=pair, **SETTINGS)
    assert checksums(stored) == alone


def test_a_folder_begun_by_one_process_is_finished_and_extended_by_workers(pair, tmp_path):
    model, (x, y) = small_network(), small_images(12)
    learn = lambda n, path, client=None: store_image_masks(
        path, model, x[:n], y[:n], shard_size=4, client=client, **SETTINGS
    )
    learn(6, tmp_path / "a.zarr"); learn(12, tmp_path / "a.zarr", pair)
    assert checksums(tmp_path / "a.zarr") == checksums(learn(12, tmp_path / "b.zarr"))


def test_a_killed_worker_costs_its_shard_and_nothing_else(tmp_path):
    x, y = small_images(24)
    alone = checksums(
        store_image_masks(tmp_path / "alone.zarr", Watched(tmp_path / "log", 0.02), x, y, shard_size=4, **SETTINGS)
    )
    (tmp_path / "log").unlink()
    with connect(workers=2) as client:
        killed = []

        def kill():  # whoever began the third shard, a little later
            while not (tmp_path / "log").exists() or len(lines(tmp_path / "log")) < 3: time.sleep(0.01)
            time.sleep(0.1)
            killed.append(int(lines(tmp_path / "log")[2].split()[0]))
            os.kill(killed[0], signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        store_image_masks(
            tmp_path / "two.zarr", Watched(tmp_path / "log", 0.02), x, y, shard_size=4, client=client, **SETTINGS
        )
        thread.join()
    told = [line.split() for line in lines(tmp_path / "log")]  # this process asks the network for its answers to noise
    begun = [first for process, first in told if int(process) != os.getpid()]
    assert killed and len(set(begun)) == 6 and len(begun) == 7, begun  # one shard twice
    assert checksums(tmp_path / "two.zarr") == alone


def test_a_shard_that_fails_three_times_is_named_and_the_others_are_done(pair, tmp_path):
    x, y = small_images(12)
    model = Watched(tmp_path / "log", bad=x[5, 0, 0, 0].item())
    with pytest.raises(
        Unfinished,
        match=r"4 images have no masks, after 3 tries each \(images 4 … 7: ArithmeticError: this image is not",
    ) as caught:
        learn_image_masks(model, x, y, client=pair, **SETTINGS)
    assert caught.value.masks.index.tolist() == [0, 1, 2, 3, 8, 9, 10, 11] and list(caught.value.failed) == [(4, 7)]
    assert sum(line.endswith(str(x[4, 0, 0, 0].item())) for line in lines(tmp_path / "log")) == TRIES == 3
    with pytest.raises(Unfinished, match="images 4 … 7.*call again"):
        store_image_masks(tmp_path / "masks.zarr", model, x, y, shard_size=4, client=pair, **SETTINGS)
    with pytest.raises(ValueError, match="masks 4 … 7 are missing"): MaskSet.load(tmp_path / "masks.zarr")
    model.bad = None
    store_image_masks(tmp_path / "masks.zarr", model, x, y, shard_size=4, client=pair, **SETTINGS)
    assert same(MaskSet.load(tmp_path / "masks.zarr"), learn_image_masks(small_network(), x, y, **SETTINGS))


def test_the_batch_size_is_measured_on_a_worker(pair, monkeypatch):
    x, y = small_images(4)
    monkeypatch.setitem(MOST_IMAGES, "cpu", 2)  # of this process
    masks = learn_image_masks(small_network(), x, y, client=pair, progress=False)
    assert masks.settings["batch_size"] == 64  # the most that a processor is given


def test_workers_that_share_a_device_share_its_memory(monkeypatch):
    monkeypatch.setattr("fourier_mask.learner.free_memory", lambda device: 2**17)  # as small as the network
    x, _ = small_images(1)
    given = small_network(), x, ImageMaskSettings(), parts_of((6, 5)), None
    sizes = [find_batch_size(*given, sharers) for sharers in (1, 2, 4)]
    assert sizes[0] == 2 * sizes[1] == 4 * sizes[2] >= 4


@pytest.mark.parametrize(
    "learn",
    [learn_image_masks, lambda *given, **settings: store_image_masks("masks.zarr", *given, shard_size=4, **settings)],
)
def test_a_shard_is_sent_without_the_images_around_it(pair, monkeypatch, tmp_path, learn):
    weights = []

    def weigh(client, function, tasks):
        tasks = list(tasks)
        sent = [[part for part in task if not isinstance(part, Future)] for task in tasks]
        weights.extend(len(pickle.dumps(parts)) for parts in sent)
        return spread(client, function, tasks)

    for page in ("workers", "mask_folder"): monkeypatch.setattr(f"fourier_mask.{page}.spread", weigh)
    monkeypatch.chdir(tmp_path)
    x, y = small_images(4)
    learn(small_network(), x.repeat(500, 1, 1, 1)[:8], y.repeat(500)[:8], client=pair, **SETTINGS)
    # four images, and what pickle writes around them
    assert len(weights) == 2 and max(weights) < 4 * x[0].numel() * x.element_size() + 4000


def test_a_scheduler_is_reached_by_its_address(pair):
    model, (x, y) = small_network(), small_images(6)
    with connect(pair.scheduler.address) as client:
        assert same(
            learn_image_masks(model, x, y, client=client, **SETTINGS), learn_image_masks(model, x, y, **SETTINGS)
        )


def test_a_worker_of_several_threads_is_refused_as_is_a_scheduler_without_workers():
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as two:
        with pytest.raises(ValueError, match="takes 2 tasks at once.*--nthreads 1"), connect(two.scheduler_address):
            pass
        with Client(two) as client, pytest.raises(ValueError, match="takes 2 tasks at once"):
            learn_image_masks(small_network(), *small_images(2), client=client, **SETTINGS)
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as none:
        with (
            pytest.raises(ConnectionError, match="has no workers. Start some with"),
            connect(none.scheduler_address, timeout_s=1),
        ):
            pass


def test_a_worker_that_joins_later_is_given_work(tmp_path):
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as growing, Client(growing) as client:
        results = spread(client, slow_pid, ((n,) for n in range(30)))
        first = next(results)[1]
        growing.scale(2)
        assert {first, *(pid for _, pid, _ in results)} > {first}


def slow_pid(number): time.sleep(0.5); return os.getpid()


def test_what_one_run_asks_for_does_not_stay_with_the_worker(monkeypatch, tmp_path):
    monkeypatch.setenv("FOURIER_MASK_DEVICE", "cpu")  # and as it was, after the test
    monkeypatch.chdir(tmp_path); monkeypatch.setitem(cluster.WORKERS_OWN, "FOURIER_MASK_DEVICE", "cuda:3")
    ask = lambda environment: cluster.at_home(str(tmp_path), environment, os.environ.get, "FOURIER_MASK_DEVICE")
    assert ask({"FOURIER_MASK_DEVICE": "cpu"}) == "cpu" and ask({}) == "cuda:3"  # the worker's own


@contextmanager
def processes(folder, **changes):
    "A scheduler and a worker started from the command line; the worker's environment may be another."
    start = lambda *words, **changes: subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + words[0], *words[1:], "--no-dashboard"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | changes,
        cwd=folder,
    )
    with ExitStack() as stack:
        def ended(process): process.kill(); process.communicate()

        scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        stack.callback(ended, scheduler)
        address = next(re.search(r"tcp://127\.0\.0\.1:\d+", line)[0] for line in scheduler.stderr if "tcp://" in line)
        worker = start("dask_worker", address, "--nthreads", "1", "--no-nanny", **changes)
        stack.callback(ended, worker)
        next(line for line in worker.stderr if "Registered to" in line)
        yield address, scheduler


def test_a_run_whose_scheduler_is_gone_says_so(tmp_path):
    tasks = {name: Task(name, after, (time.sleep, 60)) for name, after in (("a", []), ("b", []), ("c", ["a"]))}
    with processes(tmp_path) as (address, scheduler), connect(address) as client:
        def kill(task):
            if task.state == "running" and task.name == "b": scheduler.kill()

        run_tasks(tasks, 1, kill, client=client)
    assert [task.state for task in tasks.values()] == ["failed", "failed", "left out"]
    assert tasks["a"].message == tasks["b"].message == cluster.GONE


def test_tasks_are_handed_out_as_they_are_needed(pair):
    handed = []
    def tasks():
        for n in range(50): handed.append(n); yield (n,)
    results = spread(pair, abs, tasks())
    first = next(results)[1]
    # two for each of two threads, and one for the one that is done; 50 if all were sent at once
    assert len(handed) < 10
    assert sorted([first, *(result for _, result, _ in results)]) == list(range(50))


@pytest.mark.parametrize("workers", [0, -1, True])
def test_a_number_of_workers_that_is_none_is_refused(workers):
    with pytest.raises(ValueError, match="workers must be a whole number"), connect(workers=workers): pass


def test_a_scheduler_that_does_not_answer_leaves_no_half_client_behind():
    "One that is collected while another client starts waits for a lock that the other holds, for ever."
    def alive(): return {id(each) for each in gc.get_objects() if type(each) is Client and each.status != "closed"}

    gc.collect()
    gc.disable()
    before = alive()
    try:
        for address in ("tcp://127.0.0.1:9", "nonsense", "tcp://127.0.0.1:99999", "tcp://nowhere.invalid:8786"):
            with pytest.raises(ConnectionError), connect(address, timeout_s=0.2): pass
        assert alive() <= before
    finally: gc.enable()


def test_an_address_where_nobody_answers_is_given_up_within_ten_seconds():
    began = time.monotonic()
    with pytest.raises(ConnectionError, match="no Dask scheduler answers"), connect("tcp://127.0.0.1:9"): pass
    assert time.monotonic() - began < 10


def test_a_worker_with_another_version_is_refused_with_both(tmp_path):
    other = tmp_path / "site" / "fourier_mask-0.0.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: fourier_mask\nVersion: 0.0.9\n")
    with (
        processes(tmp_path, PYTHONPATH=str(tmp_path / "site")) as (address, _),
        pytest.raises(ValueError, match=r"worker tcp://.* has fourier_mask 0\.0\.9 there and \d+\.\d+\.\d+ here"),
        connect(address),
    ):
        pass
