"""The rivals: detectors that know nothing of the pathway, each with ``fit`` and ``score`` (higher = more novel)."""
