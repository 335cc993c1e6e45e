"""What Discord and Telegram decide alike."""
