"""What people read in Chinese: messages of chats, sentences of every room, commands."""
