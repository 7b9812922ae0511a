"""Integer attention, its parameters and registers."""
