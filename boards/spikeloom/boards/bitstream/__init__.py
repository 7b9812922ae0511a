"""From a board and a fabric to a bitstream, its report, and the board that it is loaded into."""
