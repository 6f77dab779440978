"""The contract of every runtime: its methods, its input and its output."""
