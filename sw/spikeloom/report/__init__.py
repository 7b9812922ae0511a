"""HTML report and raster plot."""
