"""What only the book needs: published rows, the paper's tables and ours, figures, and the chapters' own analyses."""
