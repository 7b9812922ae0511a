"""Convolution and pooling by their definitions: loops over outputs, one image at a time."""

import numpy as np


def convolved(convolution, weight, image):
    """One image ``(c, y, x)`` through a convolution, by the definition in the docstring of
    `spikeloom.sim.network.projection`."""
    outputs, height, width = convolution.output_shape
    channels = convolution.input_shape[0] // convolution.groups
    result = np.zeros((outputs, height, width), np.result_type(weight, image))
    for o in range(outputs):
        first = o // (outputs // convolution.groups) * channels
        for oy in range(height):
            for ox in range(width):
                for c in range(channels):
                    for ky in range(convolution.kernel[0]):
                        for kx in range(convolution.kernel[1]):
                            y = oy * convolution.stride[0] - convolution.padding[0] + ky * convolution.dilation[0]
                            x = ox * convolution.stride[1] - convolution.padding[1] + kx * convolution.dilation[1]
                            if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
                                result[o, oy, ox] += weight[o, c, ky, kx] * image[first + c, y, x]
    return result


def pooled(window, image, stride=None, padding=(0, 0)):
    """Sums of one image ``(c, y, x)`` over windows; without ``stride``, the windows do not overlap."""
    high, wide = window
    down, right = stride or window
    image = np.pad(image, ((0, 0), *((p, p) for p in padding)))
    height, width = (image.shape[1] - high) // down + 1, (image.shape[2] - wide) // right + 1
    result = np.zeros((len(image), height, width), image.dtype)
    for c in range(len(image)):
        for y in range(height):
            for x in range(width):
                result[c, y, x] = image[c, y * down : y * down + high, x * right : x * right + wide].sum()
    return result
