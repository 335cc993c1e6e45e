"""Checks of the device, and of all models and other files by loading each once."""
