"""Runs notebooks: ``python docs/notebooks/execute.py NAME...`` puts what their cells print into the files.

With ``--check`` the files stay as they are, and what is printed must be what they say. Pictures are made again but not
compared: their bytes depend on the version of matplotlib.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook as it is after all of its cells have run; raises the error of a cell that fails."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where, record_timing=False).execute()
    for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = number + 1
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number + 1
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """What each code cell shows as text, and ``<picture>`` for each picture."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            parts = []
            for output in cell.outputs:
                data = output.get("data", {})
                parts.append(output.get("text") or ("<picture>" if "image/png" in data else data.get("text/plain", "")))
            texts.append("".join(parts))
    return texts


def main(arguments: list[str]) -> int:
    """Execute or check the notebooks named; returns the exit status."""
    check = "--check" in arguments
    status = 0
    for name in (argument for argument in arguments if argument != "--check"):
        path = FOLDER / f"{name}.ipynb"
        notebook = executed(path)
        if not check:
            nbformat.write(notebook, path)
        elif printed(notebook) != printed(nbformat.read(path, as_version=4)):
            print(f"{path.name} prints something else now: python docs/notebooks/execute.py {name}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
