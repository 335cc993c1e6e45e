"""Models, LoRAs and tokenizers as they are loaded from files."""
