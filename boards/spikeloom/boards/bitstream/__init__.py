"""Bitstreams: build one for a board and a fabric, report on it, and load it into the board."""
