"""What other programs write beside a picture, read and written."""
