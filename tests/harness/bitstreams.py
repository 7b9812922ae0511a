"""A build report without a build, for tests that use reports."""

from spikeloom.boards.bitstream.report import Clock, Report

__all__ = ["BUILD_REPORT"]

BUILD_REPORT = Report(
    board="ulx3s-85f",
    device="LFE5U-85F",
    lut=412,
    ff=163,
    ram=33,
    dsp=2,
    first_clock_mhz=25.0,
    clock_mhz=25.0,
    fmax_mhz=48.25,
    neurons=256,
    synapses=65536,
    peak_synaptic_operations_per_s=200_000_000,
    identity="00" * 16,
    clocks=(Clock(name="clk", constraint_mhz=25.0, achieved_mhz=48.25),),
)
