"The contract of the notebooks: exports in step, paper notebooks of one form, nothing in them that does not belong."
import ast
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT
from imports import own_modules

from fourier_mask.record import load_manifest, number
from fourier_mask.reproduce import notebook_parameters

LIBRARY = sorted((ROOT / "nbs").glob("*.ipynb"))
PAPER = sorted((ROOT / "nbs" / "paper").glob("*.ipynb"))


def code(path): return [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]


def lines(cell): return [line for line in cell.source.splitlines() if line.strip()]


def test_the_package_is_what_the_notebooks_export(tmp_path):
    for name in ("nbs", "settings.ini", "pyproject.toml", "setup.py", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "fourier_mask").mkdir()
    shutil.copy(ROOT / "fourier_mask" / "__init__.py", tmp_path / "fourier_mask")
    subprocess.run([f"{sys.prefix}/bin/nbdev_export"], cwd=tmp_path, check=True, timeout=120)
    names = [p.name for p in sorted((tmp_path / "fourier_mask").glob("*.py"))]
    assert names == [p.name for p in sorted((ROOT / "fourier_mask").glob("*.py"))]
    _, different, errors = filecmp.cmpfiles(tmp_path / "fourier_mask", ROOT / "fourier_mask", names, shallow=False)
    assert not different and not errors, "run nbdev_export and commit what it writes"


def test_the_readme_is_what_its_notebook_makes():
    command = [sys.executable, "tools/pages.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, "README.md differs from nbs/index.ipynb: run make notebooks\n" + result.stderr[-900:]


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def committed_gallery():
    "Values by item, in the manifest's order, as committed: a reader may have made theirs again."
    paths = git("ls-files", "figures/quick/*/metrics.json").split()
    values = {path.split("/")[2]: json.loads(git("show", f"HEAD:{path}"))["values"] for path in paths}
    made = {name for name, item in load_manifest().items() if "quick" in item.profiles}
    assert made <= values.keys() <= load_manifest().keys()
    return {name: values[name] for name in load_manifest() if name in values}


def test_the_gallerys_page_holds_every_value_that_was_committed():
    page = (ROOT / "figures" / "quick" / "README.md").read_text(encoding="utf-8")
    count = 0
    for item, values in committed_gallery().items():
        for value in values:
            if not value["verdict"]: continue
            row = rf"\| {item} \| {re.escape(value['name'])} \| .*{re.escape(number(value['value']))}.* "
            assert re.search(row + rf"\| {value['verdict']} \|", page), value
            count += 1
    assert page.count("\n| ") == count + 2


def readme_rows():
    "The README's table of what was found, a line for each item."
    return re.findall(r"^\| \[(?:Fig|Tab)\. .*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def index_functions():
    "What the hidden cells of the README's page define."
    cells, known = {c.id: c.source for c in code(ROOT / "nbs" / "index.ipynb")}, {}
    for name in ("found-claims", "found-claims-on", "found-rows"): exec(cells[name], known)
    return known


def test_the_readme_has_one_row_for_each_item_of_the_committed_gallery():
    known, gallery = index_functions(), committed_gallery()
    made = [known["markdown"]([known["found_row"](item, values)]) for item, values in gallery.items()]
    assert readme_rows() == [row.replace("](../", "](") for row in made]
    count = sum(bool(value["verdict"]) for values in gallery.values() for value in values)
    assert f"All {count} values" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_numbers_and_verdicts_are_the_committed_gallerys():
    "Found in the text, whatever made it: no number may be typed in."
    for row, values in zip(readme_rows(), committed_gallery().values(), strict=True):
        _, _, found, verdict = row.strip("| ").split(" | ")
        assert re.search(r"\d", found) and not foreign_numbers(found, values), row
        said = [value["verdict"] for value in values if value["verdict"] in ("match", "differs")]
        no_claim = "by construction" if any(value["verdict"] for value in values) else "told"
        word = "partly" if len({*said}) == 2 else said[0] if said else no_claim
        assert verdict == (f"{word}, {said.count('match')} of {len(said)}" if said else word), row


def foreign_numbers(text, values):
    "Numbers in a text that are no rounding of a value, its spread or the paper's number, nor of one in per cent."
    own = [abs(given) for value in values for given in (value["value"], value["spread"], value["paper"])
           if given is not None]
    foreign = []
    for found in re.findall(r"\d+(?:\.\d+)?(?:e−\d+)?", text):
        digits, _, exponent = found.partition("e−")
        unit = 10.0 ** -(len(digits.partition(".")[2]) + int(exponent or 0))
        wanted = float(found.replace("−", "-"))
        if not any(abs(given - wanted) <= 0.501 * unit for one in own for given in (one, 100 * one)):
            foreign.append(found)
    return foreign


def test_what_looks_for_foreign_numbers_can_find_them():
    values = [dict(value=-0.0512, spread=0.1, paper=None), dict(value=2.2e-14, spread=None, paper=0.3)]
    assert not foreign_numbers("−5.1 % ± 0.1, 2e−14 and 30 %; −0.05", values)
    assert foreign_numbers("5.2 %, 3e−14, 0.06 and 31", values) == ["5.2", "3e−14", "0.06", "31"]


@pytest.mark.parametrize(("said", "verdict"), [
    (["match", "match", "", "not comparable"], "match, 2 of 2"),
    (["match", "differs", "by construction"], "partly, 1 of 2"),
    (["differs", "not comparable"], "differs, 0 of 1"),
    (["by construction", "not comparable", ""], "by construction"),
    (["not comparable", ""], "not comparable"),
])
def test_the_verdict_of_an_item_by_hand(said, verdict):
    assert index_functions()["verdict_of"]([{"verdict": each} for each in said]) == verdict


def test_the_readme_begins_with_a_mask_and_how_to_get_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    picture = "figures/readme/six_lines.png"
    assert len(text) <= 9000, "move what a newcomer does not need to the page that it is about"
    for needed in (picture, "pip install .", "learn_image_masks(", "MaskSet("): assert needed in text[:1700], needed
    content = (ROOT / picture).read_bytes()
    assert content[:4] == b"\x89PNG" and len(content) < 100_000


def test_the_list_of_pages_is_whole():
    pages = (ROOT / "nbs" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[.*?\]\((\S+\.ipynb)\) \|", pages, re.MULTILINE)
    library = [path.name for path in LIBRARY if path.stem != "index"]
    assert listed == library + [f"paper/{item.notebook}" for item in load_manifest().values()]
    assert f"all {len(library)} pages" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAPER, ids=lambda p: p.stem)
def test_paper_notebooks_have_one_form(path):
    cells = nbformat.read(path, 4).cells
    prose = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    headings = [line[3:] for line in prose.splitlines() if line.startswith("## ")]
    result = "Table" if path.stem.startswith("tab") else "Figure"
    assert headings == ["Claim", "Parameters", "Inputs", "Compute", result, "Check", "Record"]
    assert len(code(path)) <= 12 and sum(len(lines(c)) for c in code(path)) <= 120
    assert all(not c.outputs and c.execution_count is None for c in code(path))
    for cell in code(path):
        for node in ast.walk(ast.parse(cell.source)):
            if not isinstance(node, ast.FunctionDef): continue
            assert node.end_lineno - node.lineno < 5, f"{node.name} belongs in the library"


@pytest.mark.parametrize("path", PAPER, ids=lambda p: p.stem)
def test_parameters_are_explained_literals_with_types(path):
    cell = next(c for c in code(path) if "parameters" in c.metadata.get("tags", []))
    for line in lines(cell): assert re.fullmatch(r"\w+: (str|int|float|bool|dict) = [^#]+  # .+", line), line
    assert {"profile", "seed", "settings", "out"} <= notebook_parameters(path).keys()


def test_manifest_and_folder_agree():
    manifest = load_manifest()
    assert {item.notebook for item in manifest.values()} == {p.name for p in PAPER}
    for name, item in manifest.items(): assert item.path.stem.startswith(f"{name}_")
    assert {p.stem for p in (ROOT / "paper" / "expected").glob("*.json")} == manifest.keys()


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: p.stem)
def test_library_notebooks_are_pages(path):
    cells = nbformat.read(path, 4).cells
    assert cells[0].source.startswith("# ") and "\n> " in cells[0].source
    words = sum(len(c.source.split()) for c in cells if c.cell_type == "markdown")
    total = sum(len(lines(c)) for c in code(path))
    assert total <= 400 and len(code(path)) <= 40 and words >= 2 * total
    for cell in code(path):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"
            assert not any("image" in kind for kind in output.get("data", {}))


@pytest.mark.parametrize("path", LIBRARY + PAPER, ids=lambda p: p.stem)
def test_a_cell_can_be_read_and_a_line_changed(path):
    for cell in code(path):
        assert len(lines(cell)) <= 45, cell.id
        assert all(len(line) <= 120 for line in cell.source.splitlines()), cell.id
        if cell.source.startswith("%"): continue
        for line, statements in statements_by_line(cell.source).items():
            assert len(statements) <= 2, (cell.id, line)


def statements_by_line(source):
    "Statements that begin on each line, a compound one and its body counted apart."
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt): found.setdefault(node.lineno, []).append(node)
    return found


def test_what_counts_statements_can_count():
    assert [len(each) for each in statements_by_line("a = 1; b = 2; c = 3\nif a: b = 1").values()] == [3, 2]


PROSE = [*LIBRARY, *PAPER, *sorted(ROOT.glob("*.md")),
         *(ROOT / name / "README.md" for name in ("nbs", "benchmarks", "figures/quick"))]


@pytest.mark.parametrize("path", PROSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_what_a_clone_has(path):
    kept = git("ls-files").splitlines()
    for target in links(path):
        there = os.path.relpath(path.parent / target, ROOT)
        assert there in kept or any(name.startswith(f"{there}/") for name in kept), target


def links(path):
    "Files that the prose of a page links to or shows."
    if path.suffix == ".ipynb":
        text = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown")
    else: text = path.read_text(encoding="utf-8")
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    return [target for found in re.findall(r'\]\(([^)\s]+)\)|src="([^"]+)"', text)
            if (target := "".join(found).partition("#")[0]) and ":" not in target]


def test_what_looks_for_links_finds_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('[a](b.md#c) ![d](e.png) [f](https://g.h) <img src="i.png"> `[j](k)`\n```sh\n[l](m)\n```\n[n](#o)')
    assert links(page) == ["b.md", "e.png", "i.png"]


def test_arrows_point_up():
    "A page imports from pages above it, in examples too, and never inside a function, where a circle would hide."
    sources = {path.stem: [c.source for c in code(path) if not c.source.startswith("%")] for path in LIBRARY}
    page_of = {exp[1]: page for page, cells in sources.items() if (exp := re.search(EXPORTS_TO, "\n".join(cells)))}
    assert len(page_of) > 40
    below, hidden = {}, {}
    for page in page_of.values():
        for tree in map(ast.parse, sources[page]):
            for node in ast.walk(tree):
                names = own_modules(node)
                if late := [name for name in names if page_of.get(name, "fourier_mask") > page]: below[page] = late
                if names and node not in tree.body: hidden[page] = names
    assert not below and not hidden


EXPORTS_TO = r"#\| default_exp (\w+)"


def test_what_finds_imports_finds_them_wherever_they_stand():
    "Also the root of the package, which imports all of it, and counts as below every page."
    text = """def f():
    from fourier_mask.workers import learn_on_workers
    from .learn import learn_image_masks
    from fourier_mask import shards
    import fourier_mask.store, torch
    from torch import nn"""
    found = [own_modules(node) for node in ast.walk(ast.parse(text))]
    assert [names for names in found if names] == [["workers"], ["learn"], ["shards"], ["store"]]
    assert own_modules(ast.parse("import fourier_mask").body[0]) == ["fourier_mask"]


@pytest.mark.parametrize("path", LIBRARY + PAPER, ids=lambda p: p.stem)
def test_no_path_of_a_machine_and_stable_ids(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(root|home|tmp|Users|work)/", text)
    ids = [c.id for c in nbformat.read(path, 4).cells]
    assert len(set(ids)) == len(ids)
