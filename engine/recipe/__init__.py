"""What determines the pixels of a picture; standard library only."""
