"""Who may ask for what where: rules, limits, roles, blocked words, what is safe to show."""
