"""Stage 2: the U-Net removes noise from latents, step by step."""
