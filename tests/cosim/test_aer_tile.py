"""AER tiles in Verilog, between tiles that obey the token rules and chips without a clock; planted bugs are found."""

from harness.aer_variants import INPUT_BUGS, OUTPUT_BUGS, Variants

TESTS = 6 + 3 + len(INPUT_BUGS) + 3 + len(OUTPUT_BUGS) + 1


def test_aer_tiles(verilog, run_bench):
    run_bench(verilog(Variants(), "aer_tiles"), "aer_tiles", "aer_tile_bench", tests=TESTS)
