"""Vectors of pictures: kept in the database, and scanned in a file of their own."""
