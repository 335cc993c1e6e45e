"""Stage 3: the VAE turns latents into pixels, and pixels into latents."""
