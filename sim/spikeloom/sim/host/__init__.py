"""Models of the host interface: link frames, messages, bridge, encoder and readout."""
