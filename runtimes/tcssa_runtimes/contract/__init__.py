"""What every runtime promises, takes and gives."""
