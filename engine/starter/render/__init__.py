"""Drawing of the starter world: specs to 128 px pictures."""
