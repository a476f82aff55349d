"""What single chapters compute beyond the paper."""
