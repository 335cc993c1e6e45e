"""Devices, their memory, and what calls of a network cost on them."""
