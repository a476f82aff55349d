"""Messages and progress bars, on stderr so that pages and pipes stay clean."""

import sys
import time
from collections.abc import Iterator

from tqdm import tqdm


def say(text: str) -> None:
    """Print a line on stderr."""
    print(f"rapp: {text}", file=sys.stderr, flush=True)


class Progress:
    """A progress bar in a terminal, or a line now and then in a log, with the time left.

    Args:
        total: how many units of work there are; None: unknown.
        unit: what one is called.
        what: what the work is called; "" for nothing.
        done: units that were done before.
        quiet: say nothing at all.
        every: seconds between two lines of a log.
    """

    def __init__(
        self, total: int | None, unit: str, what: str = "", done: int = 0, quiet: bool = False, every: float = 60
    ) -> None:
        self.bar = tqdm(
            total=total, initial=done, unit=unit, desc=what or None, leave=False, delay=1,  # none for what is quick
            disable=quiet or None, file=sys.stderr,
        )  # fmt: skip
        self.total, self.unit, self.what, self.quiet, self.every = total, unit, what, quiet, every
        self.before, self.done, self.start = done, done, time.monotonic()
        self.said = self.start

    def add(self, n: int = 1) -> None:
        """Count ``n`` units more as done."""
        self.done += n
        self.bar.update(n)
        now = time.monotonic()
        if self.bar.disable and not self.quiet and n and now - self.said > self.every:
            what, left = f"{self.what}, " if self.what else "", f"{self.done:,} {self.unit}s"
            if self.total is not None:
                minutes = (now - self.start) / (self.done - self.before) * (self.total - self.done) / 60
                left = f"{self.done} of {self.total} {self.unit}s, about {minutes:.0f} min left"
            say(what + left)
            self.said = now

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def rounds(n: int, what: str, progress: bool) -> Iterator[int]:
    """Yield 0 to n − 1, with a progress bar on stderr if asked for."""
    bar = Progress(n, "round", what, quiet=not progress)
    for i in range(n):
        yield i
        bar.add()
    bar.close()
