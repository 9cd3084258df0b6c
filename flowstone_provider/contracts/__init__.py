"""What a plugin author implements. Standard library and pydantic only."""
