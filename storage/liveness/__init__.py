"""Whether another process lives: file locks, and who has the database open."""
