"""Memory and register contents for each kind of tile, one file per kind."""
