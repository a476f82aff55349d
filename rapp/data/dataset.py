"""A data set: rows, labels, what they mean, where they come from."""

from dataclasses import dataclass, field

import numpy as np

UNNAMED = "Unnamed: "  # as pandas calls columns without a name


class DataError(Exception):
    """Data that cannot be had or cannot be used; the message says what to do.

    Examples:
        >>> from rapp import data
        >>> data.load("mnits")
        Traceback (most recent call last):
        rapp.data.dataset.DataError: dataset 'mnits' is unknown; allowed: mnist-5k, ...
    """


@dataclass(frozen=True)
class Dataset:
    """Rows and labels of one named data set.

    Examples:
        >>> import numpy as np
        >>> from rapp.data import Dataset
        >>> x, y, both = np.eye(3), np.array(["ok", "ok", "broken"]), ("broken", "ok")
        >>> mine = Dataset("mine", x, y, both, None, "our shop", "none", "", both)
        >>> len(mine), mine.target()
        (3, 'broken')
    """

    name: str  #: as ``data.load`` takes it
    #: (N, n_features), images flattened, float32 in [0, 1]; tables float64 as they are
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)  #: (N,) str, one of ``classes``
    classes: tuple[str, ...]  #: all that can occur in ``y``
    image_shape: tuple[int, int] | None  #: (height, width), or None for a table
    source: str  #: where the rows come from
    licence: str  #: of the data
    citation: str  #: a key of book/references.bib; "" for people's own
    class_names: tuple[str, ...]  #: for people, as ``classes``
    notes: tuple[str, ...] = ()  #: what was left out on the way
    normal: str | None = None  #: of two classes the one that is always normal; None where any can be
    partial: bool = False  #: lacks some of the published rows, so its numbers compare with none
    features: tuple[str, ...] = ()  #: of a table of people's own, the columns' names

    def __len__(self) -> int:
        return len(self.x)

    def target(self, value: object = None) -> str:
        """The class that ``value`` names: 1, "1" and, where classes have names, "Trouser".

        None means the class that is not the fixed normal one, if there is one; else of images the second class, as in
        the paper's example, and of a table the rarest. A value that names no class raises a ``DataError``.
        """
        if value is None and self.normal:
            return next(label for label in self.classes if label != self.normal)
        if value is None:
            return self.classes[1] if self.image_shape else min(self.classes, key=lambda c: (self.y == c).sum())
        for label, name in zip(self.classes, self.class_names, strict=True):
            if str(value) in (label, name):
                return label
        raise DataError(f"target {value!r} is no class of {self.name}; allowed: {', '.join(self.classes)}")

    def class_name(self, label: str) -> str:
        """The name that people use for a class, given its ``label``."""
        return self.class_names[self.classes.index(label)]
