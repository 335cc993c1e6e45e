"""Devices, their memory, and the costs of a network's calls on them."""
