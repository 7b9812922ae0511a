"""The resources that a core takes, and the core that a device holds."""
