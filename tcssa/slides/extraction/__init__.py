"""From slides to patch features: plan, read, encode, write."""
