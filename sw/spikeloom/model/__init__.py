"""The float network."""
