"""Float network model."""
