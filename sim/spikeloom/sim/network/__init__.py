"""The quantised network and the reference run."""
