"""Quality of results (size and speed) of blocks and boards, and the data for fitting the estimate."""
