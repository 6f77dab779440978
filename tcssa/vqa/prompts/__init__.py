"""Prompts and chat templates."""
