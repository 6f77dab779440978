"""What reads slide files: one small protocol, one file a reader, and the choice between them."""
