"""Many cells: their files, a run over all that is missing, and the protocol with one choice changed."""
