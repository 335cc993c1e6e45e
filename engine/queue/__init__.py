"""Which waiting job runs next, and how long each is expected to take."""
