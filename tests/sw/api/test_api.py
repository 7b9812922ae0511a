"""The public API: complete, documented and typed; the examples of the README run."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from harness.compiled import BUILD

from spikeloom import api
from spikeloom.datasets.encoders import encoder_from
from spikeloom.datasets.shipped import load_digits, shipped

README = Path(__file__).parents[3] / "README.md"


def test_every_name_has_the_home_that_type_checkers_see():
    tree = ast.parse(Path(api.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in checked.body for alias in node.names}
    assert seen == api._HOMES
    assert sorted(seen) == sorted(api.__all__) == sorted(dir(api))


@pytest.mark.parametrize("name", api.__all__)
def test_every_name_is_there_and_documented(name):
    found = getattr(api, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert found.__doc__
        assert found.__module__.startswith("spikeloom.")


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match=r"^module 'spikeloom\.api' has no attribute 'nothing'$"):
        _ = api.nothing


def example() -> str:
    """The Python example of the README."""
    (block,) = re.findall(r"In Python:\n\n```python\n(.*?)```\n", README.read_text(), re.DOTALL)
    return block


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    (tmp_path / "net.nir").write_bytes(shipped("digits-mlp.nir").read_bytes())
    BUILD.mkdir(parents=True, exist_ok=True)
    (tmp_path / "build").symlink_to(BUILD)
    monkeypatch.chdir(tmp_path)
    images = load_digits()[1].first(3).images
    encoder = api.load("net.nir").encoder

    spikes = encoder_from(encoder).encode(images)
    reference, compiled = example().split("spikes_out = CompiledRunner")
    names = {"spikes_in": spikes}
    exec(reference, names)
    expected = names["spikes_out"]
    assert 0 < expected.sum() < expected.size
    exec("spikes_out = CompiledRunner" + compiled, names)
    assert np.array_equal(names["spikes_out"], expected)
    assert "from spikeloom.api import" in reference
    assert not re.search(r"from spikeloom\.(?!api)", reference)
