"""Helpers shared by several test files, such as random networks and benches."""
