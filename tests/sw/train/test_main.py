"""``python -m spikeloom.train`` without PyTorch; tests/training runs it with PyTorch."""

import importlib.util

import pytest

from spikeloom.train import __main__ as command


def test_without_pytorch_one_sentence_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert command.main([]) == 2
    assert capsys.readouterr().err == "spikeloom: training needs PyTorch; pip install 'spikeloom[train]'\n"


def test_the_parts_without_pytorch_do_not_import_it():
    for name in ("__main__", "integers", "mnist", "neurons"):
        source = importlib.util.find_spec(f"spikeloom.train.{name}").loader.get_source(f"spikeloom.train.{name}")
        assert not [line for line in source.splitlines() if line.startswith(("import torch", "from torch"))]


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("--data", "--output", "--only", "--validate", "--threads"))
