"""Devices, cores and processes that a computation runs on."""
