"""What the animation takes, known before its libraries are imported."""

KERNEL = 11
"""Taps per axis of its convolutions."""

LEAST_RESOLUTION, MOST_RESOLUTION = 6, 72
"""Where the kernels still fit when they are wrapped around the image, and that of the rendered digits."""
