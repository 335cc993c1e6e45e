"""Load everything once and say what is wrong."""
