"""From a stored job to a delivered reply."""
