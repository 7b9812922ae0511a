"""Frontends: convert NIR and Lava-dl files, and modules of snnTorch and torch, to the float network."""
