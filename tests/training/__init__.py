"""Tests that need PyTorch, for ``make train``; `record` keeps what ``make test`` replays without it."""
