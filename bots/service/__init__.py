"""The running process: put together, served, watched."""
