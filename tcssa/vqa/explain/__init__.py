"""One question about one slide, with the slots that the answer rests on."""
