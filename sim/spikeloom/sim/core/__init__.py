"""The neuron, the core's parameters and registers, and the fields of its memories."""
