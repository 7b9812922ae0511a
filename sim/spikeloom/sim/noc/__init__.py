"""The mesh and the router's registers."""
