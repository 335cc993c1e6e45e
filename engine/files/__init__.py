"""Files written atomically, private files, headers of safetensors files."""
