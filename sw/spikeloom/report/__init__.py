"""The HTML report and the raster plot."""
