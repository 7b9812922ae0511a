"""The notebooks without torch and snnTorch print the stored output; ``make notebooks`` runs the others as well."""

import importlib.util
import json
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
SPEC = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
execute = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(execute)


@pytest.mark.parametrize("name", ["integers", "core-size"])
def test_a_notebook_prints_what_it_says(name):
    path = FOLDER / f"{name}.ipynb"
    said = execute.printed(nbformat.read(path, as_version=4))
    assert len("".join(said)) > 200
    assert execute.printed(execute.executed(path)) == said, f"python docs/notebooks/execute.py {name} runs it again"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_stored_executed_and_without_traces_of_a_machine(path):
    notebook = json.loads(path.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    assert set(notebook["metadata"]) == {"kernelspec"}
    assert "/home/" not in path.read_text()
