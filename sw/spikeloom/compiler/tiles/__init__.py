"""What placement writes into each kind of tile, one file per kind."""
