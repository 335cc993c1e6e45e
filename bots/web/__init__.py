"""The web page: an adapter like those of the chats, whose messages are pages."""
