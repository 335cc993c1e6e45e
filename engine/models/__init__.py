"""What lies in the models folder, read without torch."""
