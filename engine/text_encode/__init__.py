"""Stage 1: a prompt becomes tokens, and CLIP turns them into conditioning."""
