"""Boards with a Gowin FPGA."""

from amaranth_boards.tang_mega_138k_pro_dock import TangMega138kProDockPlatform
from amaranth_boards.tang_nano import TangNanoPlatform
from amaranth_boards.tang_nano_9k import TangNano9kPlatform
from amaranth_boards.tang_primer_20k import TangPrimer20kDockPlatform, TangPrimer20kLitePlatform

from spikeloom.boards.targets.board import BoardDescription

__all__ = ["GOWIN_BOARDS"]


GOWIN_BOARDS = (
    BoardDescription(
        name="tang-nano-9k",
        title="Sipeed Tang Nano 9K",
        device_name="GW1NR-9C",
        platform=TangNano9kPlatform,
        pll_hz=66e6,
        flash_command=("openFPGALoader", "--board", "tangnano9k", "{bitstream}"),
    ),
    BoardDescription(
        name="tang-primer-20k",
        title="Sipeed Tang Primer 20K on its dock",
        device_name="GW2A-18C",
        platform=TangPrimer20kDockPlatform,
        pll_hz=117e6,
        flash_command=("openFPGALoader", "--board", "tangprimer20k", "{bitstream}"),
    ),
    BoardDescription(
        name="tang-primer-20k-lite",
        title="Sipeed Tang Primer 20K on its lite dock",
        device_name="GW2A-18C",
        platform=TangPrimer20kLitePlatform,
        pll_hz=117e6,
        flash_command=("openFPGALoader", "--board", "tangprimer20k", "{bitstream}"),
    ),
    BoardDescription(
        name="tang-nano",
        title="Sipeed Tang Nano",
        device_name="GW1N-1",
        platform=TangNanoPlatform,
        obstacle="its 1,152 lookup tables are too few for the host link",
        flash_command=("openFPGALoader", "--board", "tangnano", "{bitstream}"),
    ),
    BoardDescription(
        name="tang-mega-138k-pro",
        title="Sipeed Tang Mega 138K Pro on its dock",
        device_name="GW5AST-138B",
        platform=TangMega138kProDockPlatform,
        obstacle="amaranth 0.5.10 does not accept the part number of its FPGA",
        flash_command=("openFPGALoader", "--board", "tangmega138k", "{bitstream}"),
    ),
)
