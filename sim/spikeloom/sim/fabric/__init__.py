"""The fabric as parameters, its presets and its file."""
