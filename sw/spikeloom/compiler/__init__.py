"""Compiler passes from a float network to memory images: quantise, partition, mapping, layout, synapses, axons,
program."""
