"""After the three stages: upscaling with a network, and the safety check."""
