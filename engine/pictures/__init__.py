"""Pixels in and out: picture files, masks, canvases, ControlNet images, tiles."""
