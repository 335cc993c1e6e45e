"""The database: one writer, several readers, schema, tables."""
