"""Jobs over many slides as programs and people outside see them: events, metrics, status."""
