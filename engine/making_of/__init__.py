"""Making-ofs: what is recorded while a picture is drawn again, from its words to its pixels."""
