"""The host interface: UART, USB, link, bridge, and the encoder and readout of the bridge."""
