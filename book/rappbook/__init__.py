"""What only the book needs: published rows, the paper's tables beside ours, figures, and the chapters' own analyses."""
