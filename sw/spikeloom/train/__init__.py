"""Training on the arithmetic of the hardware: layers for PyTorch whose forward pass is the integer model.

PyTorch is needed here only (``pip install 'spikeloom[train]'``); the modules `spikeloom.train.integers` and
`spikeloom.train.neurons` do without it.
"""
