"""Every figure of the book: functions that take numbers and return a matplotlib figure. They compute no score."""
