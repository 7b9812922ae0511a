"""Registration of the commands: version and shell completion. `test_groups.py` tests their options."""

import importlib.metadata
import os
import subprocess
import sys

from spikeloom.cli.app import main


def test_the_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"spikeloom {importlib.metadata.version('spikeloom')}\n"


def test_the_shell_completes_commands_and_options():
    variables = os.environ | {"_SPIKELOOM_COMPLETE": "complete_bash", "COMP_WORDS": "spikeloom si", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "spikeloom.cli.app"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["simulate"]
    variables |= {"COMP_WORDS": "spikeloom check --wei", "COMP_CWORD": "2"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["--weight-bits"]
