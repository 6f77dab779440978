"""Heat maps: the evidence of a slide's patches as pictures, tables, and files for viewers."""
