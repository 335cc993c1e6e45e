"""The tick: text encoding, calls of the network for batches of rows, and what follows."""
