"How-to pages: each runs from its first cell to its last, alone and in an empty folder, and is short."
import ast
import os
import re

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from test_notebooks import code, git, lines, links, statements_by_line
from typer.main import get_command

from fourier_mask import cli

PAGES = sorted((ROOT / "nbs" / "howto").glob("*.ipynb"))
WANTED = ["cluster", "compare_checkpoints", "goals_parts_bases", "own_images", "own_network", "signals",
          "which_diagnostic"]
MACHINE = r"/(root|home|tmp|Users|work)/"
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


def prose(path): return "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown")


def run(path, folder, environment):
    "A page as a user's kernel runs it, with the package of this tree, and its outputs."
    notebook = nbformat.read(path, 4)
    at = {"metadata": {"path": str(folder)}}
    told = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    environment = environment | {"PYTHONPATH": os.pathsep.join(told)}
    environment.pop("MPLBACKEND", None)  # pictures are shown, as in JupyterLab
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=at)
    client.execute(env=environment)
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@each_page
def test_it_runs_shows_a_picture_and_a_number_warns_of_nothing_and_leaves_nothing(path, tmp_path, environment):
    folder = tmp_path / "empty"
    folder.mkdir()
    outputs = run(path, folder, environment)
    assert not list(folder.iterdir())
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    shown = [kind for output in outputs for kind in output.get("data", {})]
    text = "".join(output.data["text/plain"] for output in outputs if output.output_type == "execute_result")
    assert "image/png" in shown and re.search(r"\d", text)


def test_a_cell_that_fails_is_found(tmp_path, environment):
    page = tmp_path / "page.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in ("one = 1", "assert one == 2, 'not so'")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), page)
    with pytest.raises(CellExecutionError, match="not so"): run(page, tmp_path, environment)


def test_all_are_there_and_listed():
    assert [path.stem for path in PAGES] == WANTED
    for page, folder in ((ROOT / "nbs" / "README.md", "howto"), (ROOT / "README.md", "nbs/howto")):
        text = page.read_text(encoding="utf-8")
        for name in WANTED: assert f"]({folder}/{name}.ipynb)" in text, (page, name)


@each_page
def test_it_is_short_and_of_one_form(path):
    cells, sources = nbformat.read(path, 4).cells, code(path)
    assert re.match(r"# .+\n\n> .+\?", cells[0].source)  # its question
    headings = re.findall(r"^## (.+)$", prose(path), re.MULTILINE)
    assert headings[:2] == ["What you need", "Steps"] and headings[-2:] == ["Before you believe it", "Read on"]
    assert len(sources) <= 12 and sum(len(lines(cell)) for cell in sources) <= 80
    for cell in sources:
        assert len(lines(cell)) <= 15 and all(len(line) <= 120 for line in cell.source.splitlines()), cell.id
        assert all(len(statements) <= 2 for statements in statements_by_line(cell.source).values()), cell.id
        assert not cell.outputs and cell.execution_count is None, cell.id
        assert re.fullmatch(r"code(-[a-z0-9]+)+", cell.id), cell.id
    assert len({cell.id for cell in cells}) == len(cells)
    assert not re.search(MACHINE, path.read_text(encoding="utf-8"))


@each_page
def test_it_checks_what_it_shows(path):
    last = ast.parse(code(path)[-1].source)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(last))


@each_page
def test_its_links_lead_to_what_a_clone_has(path):
    kept = git("ls-files").splitlines()
    assert links(path)
    for target in links(path): assert os.path.relpath(path.parent / target, ROOT) in kept, target


@each_page
def test_its_anchors_are_headings(path):
    for target, anchor in re.findall(r"\]\(([^)\s#]+)#([^)\s]+)\)", prose(path)):
        headings = re.findall(r"^#+ (.+)$", prose(path.parent / target), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, anchor


@each_page
def test_its_commands_and_their_options_are_there(path):
    known = get_command(cli.app).commands
    for name, words in re.findall(r"fourier-mask ([a-z]+)([^`\n]*)", prose(path)):
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, (name, words)
