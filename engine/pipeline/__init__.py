"""The tick: which rows share the next call of the network, and what follows from it."""
