"""Settings of a command: defaults, presets, files, flags, and how two sets of them differ."""
