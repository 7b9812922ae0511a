"""Generated Verilog under cocotb. Binaries stay in ``build/cosim``; only a hardware change compiles them again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.hdl import Elaboratable

from spikeloom.hdl.top.verilog import write_verilog
from spikeloom.simulators.verilator import SimulationResult, run_cocotb

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "cosim"


@pytest.fixture
def verilog() -> Callable[[Elaboratable, str], Path]:
    """Write a design as the module of the given name, and return the file."""
    return lambda design, name: write_verilog(design, name, BUILD)


@pytest.fixture
def run_bench(tmp_path) -> Callable[..., SimulationResult]:
    """Run the cocotb tests of a module of this folder on the module ``toplevel`` of a Verilog file."""

    def run(source: Path, toplevel: str, bench: str, tests: int, **options) -> SimulationResult:
        result = run_cocotb(
            sources=[source],
            toplevel=toplevel,
            test_module=bench,
            build_dir=BUILD,
            run_dir=tmp_path / "run",
            python_path=[HERE.parent, HERE],
            # Everything that no reset clears begins with random bits, as block RAM does after an earlier program.
            random_start=True,
            timeout_seconds=120,
            **options,
        )
        assert result.tests == tests
        return result

    return run
