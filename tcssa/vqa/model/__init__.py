"""The slide language model: compressor, projector, language model, adapter."""
