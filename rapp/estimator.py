"""RaPP as a scikit-learn estimator, for a ``Pipeline`` or ``cross_validate``."""

import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from rapp import evaluation
from rapp.config import TrainingConfig
from rapp.detectors.autoencoder import bottleneck
from rapp.pathway import FewRowsWarning, Pathway
from rapp.stacks import train
from rapp.threads import pinned

METHODS = ("nap", "sap", "recon")
THREADS = 1  # of the estimator: small batches gain little from a second core, and wait for it where it is busy


class RaPP(OutlierMixin, BaseEstimator):
    """An autoencoder trained on normal rows, with a score along its projection pathway.

    Scale the features first: ``make_pipeline(StandardScaler(), RaPP())``. The input space enters the pathway, as for
    tables in the authors' code, and a VAE decodes its mean. Training takes float32, scoring float64, both on the CPU
    and on one thread, so that a process forked later does not wait for threads it does not have.

    **Signs.** Everywhere else in rapp a higher score is more novel. Here scikit-learn's convention holds: higher is
    more *normal*, ``predict`` gives 1 for normal and −1 for novel, and so must y in ``scoring="roc_auc"``: with
    y = 1 for novel rows, that silently reports 1 − AUROC.

    Args:
        method: ``nap``, ``sap`` or ``recon`` (paper, section 4).
        model: ``ae``, ``vae`` or ``aae``.
        n_layers: layers of encoder and decoder each.
        bottleneck: width of the code, at most the number of features; None for as many as principal components
            explain 90 % of the variance.
        epochs: passes over the training rows; the best by reconstruction of held-out rows is kept.
        batch: rows a step, at least 2.
        lr: Adam's learning rate.
        false_alarm_rate: share of normal rows that ``predict`` may call novel. The threshold comes from the 20 % of
            the rows that are held out from training, for those trained on score too low; from all if there are too
            few to hold any out.
        random_state: seed, ``RandomState`` or None, as in scikit-learn.

    Attributes:
        model_: the trained autoencoder, a torch module in eval mode, float64.
        pathway_: its ``rapp.Pathway``.
        offset_: ``decision_function`` is ``score_samples`` − ``offset_``.
        n_iter_: epochs trained.
        n_features_in_: number of features seen in ``fit``.
    """

    def __init__(
        self,
        method: str = "nap",
        model: str = "ae",
        n_layers: int = 3,
        bottleneck: int | None = None,
        epochs: int = 100,
        batch: int = 32,
        lr: float = 1e-3,
        false_alarm_rate: float = 0.05,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.method = method
        self.model = model
        self.n_layers = n_layers
        self.bottleneck = bottleneck
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.false_alarm_rate = false_alarm_rate
        self.random_state = random_state

    @pinned(THREADS)
    def fit(self, X: ArrayLike, y: object = None) -> "RaPP":
        """Train on X (n, n_features), all normal, at least 2 rows; y is ignored. Returns self.

        Raises:
            ValueError: a parameter or rows that cannot be used.
            FloatingPointError: training diverged; scale the features or lower ``lr``.
        """
        x: np.ndarray = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is unknown; allowed: {', '.join(METHODS)}")
        width = bottleneck(x) if self.bottleneck is None else self.bottleneck
        if not (isinstance(width, int | np.integer) and 1 <= width <= x.shape[1]):
            raise ValueError(f"bottleneck={width!r} must lie between 1 and the number of features, {x.shape[1]}")
        config = TrainingConfig(
            self.model, self.n_layers, width, samples=1, epochs=self.epochs, batch=self.batch, lr=self.lr, device="cpu",
            threads=THREADS,
        )  # fmt: skip
        random = check_random_state(self.random_state)
        rows = torch.from_numpy(x[random.permutation(len(x))])
        held_out = len(x) // 5
        val, fitted = (rows[:held_out], rows[held_out:]) if held_out else (rows, rows)
        trained = train(fitted.float(), val.float(), config, random.randint(2**31 - 1), progress=False)
        self.model_ = trained.model.double()
        self.n_iter_ = len(trained.history)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FewRowsWarning)
            self.pathway_ = Pathway(self.model_.encoder, self.model_.decode, include_input=True).fit(fitted)
        if self.method == "nap" and (said := self.pathway_.whitening.shortage):
            warnings.warn(said, FewRowsWarning, stacklevel=3)  # 3: there is a decorator in between
        normal = self.pathway_.score(val)[self.method]
        self.offset_ = -evaluation.threshold(normal, self.false_alarm_rate)
        return self

    @pinned(THREADS)
    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Normality of X (n, n_features): minus the pathway score, (n,) float64; higher is more normal."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return -self.pathway_.score(torch.tensor(X))[self.method]

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """How far X (n, n_features) is from the threshold: ``score_samples`` − ``offset_``, (n,); negative is novel."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The decision for each row of X (n, n_features): 1 for normal, −1 for novel, (n,) int."""
        return np.where(self.decision_function(X) < 0, -1, 1)
