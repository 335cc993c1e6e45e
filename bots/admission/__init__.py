"""Who may do what where: rules, limits, roles, blocked words, visibility."""
