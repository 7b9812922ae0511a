"""Bandwidth of weights in SDRAM: measured in the simulation, near the arithmetic, with exact spikes."""

import json
from dataclasses import asdict

import pytest
from harness.streamed_fabric import FABRIC, streamed_library

from spikeloom.benchmarks import sdram_speed
from spikeloom.benchmarks.sdram_speed import BOUNDS, Bandwidth, fabric_of, measure
from spikeloom.simulators.build import CompiledDesign


def test_the_measured_bandwidth_is_near_the_arithmetic(monkeypatch, tmp_path):
    compiled = CompiledDesign(library=streamed_library(), compiled=False, seconds=0.0)
    monkeypatch.setattr(sdram_speed, "compile_tiles", lambda fabric, folder, announce: compiled)
    short, long = measure("ulx3s-85f", FABRIC, 90_000_000, tmp_path, rows=(16, 64))
    for found, row_bytes in ((short, 16), (long, 64)):
        assert (found.weight_bits, found.row_bytes, found.mismatches) == (8, row_bytes, 0)
        assert found.rows > 400
        assert 0 < found.spikes < 4 * row_bytes
        # 256 rows of 16 bytes lie in all four banks, and a run of four steps has a beginning and an end.
        assert found.bandwidth_used == pytest.approx(found.by_arithmetic, rel=0.1)
        assert found.operations_per_s == pytest.approx(found.bandwidth_used * 2 * FABRIC.sdram.clock_hz, rel=0.02)
    assert short.bandwidth_used < long.bandwidth_used


def test_fabrics_of_the_board():
    """Weight words are bursts; the memory is faster than the core."""
    for board, bits, lanes in (
        ("ulx3s-85f", 8, 4),
        ("ulx3s-85f", 4, 8),
        ("colorlight-5a75b", 8, 8),
        ("colorlight-5a75b", 4, 16),
    ):
        fabric, clock_hz = fabric_of(board, bits)
        assert fabric.core.lanes * bits == fabric.sdram.burst_bits
        assert (fabric.core.lanes, fabric.core.weight_width) == (lanes, bits)
        assert 1.1 * clock_hz <= fabric.sdram.clock_hz


@pytest.mark.parametrize(("used", "status"), [(0.9, 0), (0.6, 1)])
def test_the_command_writes_a_file(tmp_path, monkeypatch, capsys, used, status):
    def measured(board, fabric, clock_hz, directory):
        return [
            Bandwidth(
                board=board,
                weight_bits=fabric.core.weight_width,
                row_bytes=16,
                clock_mhz=clock_hz / 1e6,
                memory_mhz=110.0,
                rows=2000,
                bandwidth_used=used,
                by_arithmetic=0.82,
                operations_per_s=183_400_000,
                spikes=77,
                mismatches=0,
            )
        ]

    monkeypatch.setattr(sdram_speed, "measure", measured)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build/bench").mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        sdram_speed.main()
    assert ended.value.code == status
    assert BOUNDS["ulx3s-85f"][16] == 0.65
    entries = json.loads((tmp_path / "build/bench/sdram.json").read_text())
    assert [(entry["board"], entry["weight_bits"]) for entry in entries] == [
        *(("ulx3s-85f", 8), ("ulx3s-85f", 4)),
        *(("colorlight-5a75b", 8), ("colorlight-5a75b", 4)),
    ]
    assert entries[0] == {"format": 1, **asdict(measured("ulx3s-85f", *fabric_of("ulx3s-85f", 8), None)[0])}
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == (
        f"ulx3s-85f, 8-bit weights, rows of  16 bytes: {100 * used:.1f} % of the bandwidth (by arithmetic 82.0 %), "
        "183 M operations/s, 0 mismatches"
    )
    assert shown[-1] == "written to build/bench/sdram.json"
