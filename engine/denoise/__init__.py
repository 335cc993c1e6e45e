"""Stage 2: a network removes noise from latents, step by step."""
