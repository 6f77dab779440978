"""Ways to damage a file: any bytes, and the fields of each format."""
