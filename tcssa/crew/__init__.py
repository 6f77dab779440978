"""Several workers on one list of slides: processes of this machine, or actors of a Ray cluster."""
