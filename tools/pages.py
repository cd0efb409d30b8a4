"""Run the library notebooks and keep what a reader needs of their outputs; write README.md from index.ipynb.

    python tools/pages.py            all notebooks and README.md
    python tools/pages.py --check    exit 1 if README.md is not what the stored index.ipynb makes

Of the outputs only short text is kept: no pictures (run the notebook to see them), nothing from standard error. What
the README shows besides, its first picture, is written by a cell of index.ipynb itself, and so is the gallery's page.
"""
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 3000  # characters of an output that is kept


def kept(output):
    "An output reduced to its text, or None."
    if output.output_type == "stream": return output if output.name == "stdout" and len(output.text) < LONGEST else None
    text = {kind: output.data[kind] for kind in ("text/plain", "text/markdown") if kind in output.get("data", {})}
    if (
        not text
        or "image/png" in output.data
        or "0x" in text["text/plain"]
        or len(str(text)) > LONGEST + 9000 * ("text/markdown" in text)
    ):
        return None
    return nbformat.v4.new_output("execute_result", text, execution_count=None)


def run(path: Path):
    "Execute a notebook and reduce its outputs."
    notebook = nbformat.read(path, 4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type != "code": continue
        cell.outputs, cell.execution_count = [o for o in map(kept, cell.outputs) if o], None
        cell.metadata.pop("execution", None)
    notebook.metadata = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
    return notebook


def readme(index) -> str:
    "index.ipynb as Markdown, seen from the root; cells tagged remove_input show their output only."
    config = Config(
        {
            "TagRemovePreprocessor": {
                "enabled": True,
                "remove_input_tags": ["remove_input"],
                "remove_cell_tags": ["remove_cell"],
            }
        }
    )
    index.metadata["language_info"] = {"name": "python"}  # colours the code
    text, _ = MarkdownExporter(config=config).from_notebook_node(index)
    return (
        "<!-- made from nbs/index.ipynb by `make notebooks`; edit that -->\n\n"
        + text.replace("](../", "](").replace('src="../', 'src="').strip()
        + "\n"
    )


if __name__ == "__main__":
    index = ROOT / "nbs" / "index.ipynb"
    if "--check" in sys.argv:
        sys.exit((ROOT / "README.md").read_text(encoding="utf-8") != readme(nbformat.read(index, 4)))
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        notebook = run(path)
        nbformat.write(notebook, path)
        print(path.relative_to(ROOT))
        if path == index: (ROOT / "README.md").write_text(readme(notebook), encoding="utf-8")
