"""Which waiting job is drawn next, and how long each will take."""
