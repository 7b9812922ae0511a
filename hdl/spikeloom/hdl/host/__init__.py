"""The host interface: UART, link, bridge, and the encoder and readout of the bridge."""
