"The installed package: what it brings, what it imports, how long that takes."
import ast
import configparser
import os
import re
import subprocess
import sys
import zipfile

import yaml
from conftest import ROOT
from imports import own_modules

PROBE = """
import time, torch
began = time.perf_counter()
import fourier_mask, fourier_mask.study, sys
print(time.perf_counter() - began)
unwanted = {"nbdev", "fastcore", "execnb", "IPython", "jupyter_client"}
unwanted |= {"papermill", "umap", "numba", "dask", "distributed", "matplotlib"}
print(sorted(m for m in sys.modules if m.split(".")[0] in unwanted)[:5])
print(fourier_mask.__file__, len(fourier_mask.data.fashion5(5, 5).val))
"""


def test_a_wheel_carries_types_data_and_licence_and_imports_quickly(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        check=True,
        timeout=300,
        cwd=tmp_path,
    )
    wheel, = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        file.extractall(tmp_path / "site")
    assert {"fourier_mask/py.typed", "fourier_mask/assets/fashion5.npz", "fourier_mask/assets/fashion5.LICENSE"} <= set(
        names
    )
    assert not [name for name in names if name.startswith(("nbs", "tests"))]
    best, modules, origin = 99.0, "", ""
    for _ in range(3):  # the first import writes bytecode; the quickest of three is the package's own cost
        result = subprocess.run(
            [sys.executable, "-c", PROBE],
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        seconds, modules, origin = result.stdout.splitlines()
        best = min(best, float(seconds))
    assert modules == "[]" and origin == f"{tmp_path}/site/fourier_mask/__init__.py 5"
    assert best < 3, f"importing took {best:.1f} s beyond torch"


def imported(module, seen=()):
    "The package's own modules that a module needs, also inside functions, and what those need."
    tree = ast.parse((ROOT / "fourier_mask" / f"{module}.py").read_text())
    names = {name for node in ast.walk(tree) for name in own_modules(node)}
    for name in names - {*seen}: seen = {*seen, name} | imported(name, {*seen, name})
    return {*seen}


def test_what_the_learners_build_on_needs_no_learner():
    learners = {"learner", "workers", "learn", "dataset_mask"}
    for module in ("spectrum", "device", "data", "imagenette", "crops", "models", "train"):
        assert not imported(module) & (learners | {"mask", "cluster", "store", "study"}), module
    assert not imported("workers") & {"learn", "dataset_mask", "store"}
    assert {"mask", "models", "device", "spectrum"} <= imported("learn")  # the test can see an import


def test_nothing_is_required_that_is_not_used():
    "Of ipykernel only the kernel is used, by papermill, which starts it by its name."
    modules = {"scikit-learn": "sklearn", "umap-learn": "umap"}
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "settings.ini", encoding="utf-8")
    required = [re.match(r"[\w-]+", word)[0] for word in config["DEFAULT"]["requirements"].split()]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "fourier_mask").glob("*.py"))
    unused = [name for name in required
              if not re.search(rf"^ *(from|import) {modules.get(name, name)}\b", sources, re.MULTILINE)]
    assert unused == ["ipykernel"]


def test_it_is_cited_by_its_version_and_with_the_paper():
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "settings.ini", encoding="utf-8")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()  # all that the format requires
    version = config["DEFAULT"]["version"]
    assert [cited[name] for name in ("title", "version", "license")] == ["fourier_mask", version, "MIT"]
    assert cited["authors"] == [{"name": config["DEFAULT"]["author"]}]
    paper, = cited["references"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    entries = readme.partition("```bibtex")[2].partition("```")[0].replace("{Fourier}", "Fourier")
    for needed in (paper["title"], paper["journal"], str(paper["start"]), str(paper["year"]), paper["doi"],
                   *(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])):
        assert needed in " ".join(entries.split()), needed
    assert f"version = {{{version}}}" in entries
