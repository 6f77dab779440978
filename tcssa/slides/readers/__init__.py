"""Readers of slide files: one small protocol, one module per reader, and the choice of one."""
