"""What several test files share: random networks, and the bench of the LIF engine."""
