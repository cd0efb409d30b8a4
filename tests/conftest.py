"Every test works in folders of its own; nothing is read from or written to the repository's runs/ and figures/."
import os
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

# the first call compiles checks; a failure must come again
settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parents[1]
# also of the processes that tests start: what is compared to the last bit is so on a processor only
os.environ["FOURIER_MASK_DEVICE"] = "cpu"

# files that take a minute or more, the longest first: begun last, one would leave the other processes idle
LONGEST = ["test_reproduce.py", "test_stored_masks.py", "test_package.py", "test_faults.py", "test_stopped.py",
           "test_howto.py", "test_own_network.py", "test_mask_folder.py", "test_resume.py", "test_cluster.py",
           "test_paper_profile.py"]


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    "A fresh store and a fresh folder for pictures."
    monkeypatch.setenv("FOURIER_MASK_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FOURIER_MASK_FIGURES", str(tmp_path / "figures"))
    return tmp_path


@pytest.fixture
def annotations_off():
    "As users have it: only tests enforce annotations, which would refuse these arguments first."
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    "Environment of a subprocess with one store and one folder for pictures for the whole session."
    folder = tmp_path_factory.mktemp("session")
    return os.environ | {
        "FOURIER_MASK_RUNS": str(folder / "runs"),
        "FOURIER_MASK_FIGURES": str(folder / "figures"),
        "OMP_NUM_THREADS": "1",
    }
