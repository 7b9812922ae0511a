"""Tests that need PyTorch, for ``make train``; `record` stores what ``make test`` replays without it."""
