"""Checks, backups and pruning."""
