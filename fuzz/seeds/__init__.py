"""Small valid files of every kind that a reader takes, made on the spot and the same each time."""
