"""Frontends: convert NIR files and snnTorch modules to the float network."""
