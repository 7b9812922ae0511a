"""The host interface: UART, USB, Ethernet, link, bridge, and the encoder and readout of the bridge."""
