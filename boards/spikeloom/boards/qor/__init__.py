"""Quality of results of blocks and boards, and the fit of the estimate."""
