"""Asking a merged model that a server holds, by vLLM's protocol."""
