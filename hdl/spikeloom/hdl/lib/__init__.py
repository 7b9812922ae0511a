"""Building blocks: FIFO, arbiter, LFSR, loadable memories, register banks."""
