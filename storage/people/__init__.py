"""People, places, moderation, styles, favourites, inbox, and their privacy."""
