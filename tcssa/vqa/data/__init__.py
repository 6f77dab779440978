"""Question sets and conversations as the field has them."""
