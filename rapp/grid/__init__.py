"""Many cells: what and in which files they are (``cells``), and a run over all that are missing (``runner``)."""
