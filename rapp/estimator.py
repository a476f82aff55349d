"""RaPP as a scikit-learn estimator, for a ``Pipeline``, ``cross_validate`` or ``GridSearchCV``.

Examples:
    >>> import warnings
    >>> import numpy as np
    >>> import rapp
    >>> from rapp.estimator import CalibrationWarning
    >>> warnings.simplefilter("error", CalibrationWarning)  # rather no detector
    >>> x = np.random.default_rng(0).normal(size=(1000, 4))
    >>> detector = rapp.RaPP(epochs=2, random_state=0).fit(x)
    >>> detector.predict(x[:1] + 100)
    array([-1])
    >>> detector.save("model")
    >>> rapp.load("model").predict(x[:1] + 100)
    array([-1])
"""

import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from rapp import calibration, explain, saving
from rapp.cache import DamagedFileError
from rapp.config import TrainingConfig, is_whole
from rapp.detectors.rows import bottleneck, normal_rows
from rapp.pathway import FewRowsWarning, Pathway
from rapp.progress import say
from rapp.stacks import train
from rapp.threads import pinned
from rapp.whitening import Whitening

METHODS = ("nap", "sap", "recon")
THREADS = 1  # of the estimator: small batches gain little from a second core, and wait for it where it is busy
ENOUGH = 95  # rows; a fifth of them calibrate, 19, which is what a false alarm in twenty needs
# Widths, batch and the bottleneck's cap are the best of six on thirty tables (book/rappbook/chapters/adbench.py).
HIDDEN = (128, 64)
RATE = 0.05  # of false alarms, unless told otherwise
QUANTILES = 21  # of each feature's training values, among which ``explain`` looks for a better one


class CalibrationWarning(UserWarning):
    """The rate of false alarms that was asked for cannot be promised with so few rows."""


class RaPP(OutlierMixin, BaseEstimator):
    """An autoencoder trained on normal rows, with a score along its projection pathway.

    Scale the features first: ``make_pipeline(StandardScaler(), RaPP())``. The input space enters the pathway, as for
    tables in the authors' code, and a VAE decodes its mean. Training takes float32, scoring float64 on the CPU, both on
    one thread, so that a process forked later does not wait for threads it does not have.

    **Rows.** With 95 rows or more, a fifth calibrates (threshold and p-values come from it, it does nothing else), a
    twentieth chooses the best epoch, the rest trains. With fewer, a fifth does both, so the rate of false alarms is
    approximate, and a ``CalibrationWarning`` says what to expect.

    **Signs.** Everywhere else in rapp a higher score is more novel, and so it is in ``scores``. In the methods that
    scikit-learn names, its convention holds: higher is more *normal*, ``predict`` gives 1 for normal and −1 for novel,
    and so must y in ``scoring="roc_auc"``: with y = 1 for novel rows, that silently reports 1 − AUROC.

    Args:
        method: ``nap``, ``sap`` or ``recon`` (paper, section 4); what it was at ``fit`` counts until the next.
        model: ``ae``, ``vae`` or ``aae``.
        n_layers: layers of encoder and decoder each, with widths between input and code interpolated as in the paper;
            None for one more than ``hidden`` has.
        bottleneck: width of the code, at most the number of features; None for as many as principal components
            explain 90 % of the variance, but at most half of the features.
        epochs: passes over the training rows; the best by reconstruction of held-out rows is kept.
        patience: epochs without a new best after which training ends; None for all ``epochs``.
        batch, lr: rows a step, at least 2; Adam's learning rate.
        false_alarm_rate: α, the share of new normal rows that ``predict`` may call novel (``calibration``). None: .05,
            or the least that the rows allow, 1 / (n + 1) with n rows that calibrate. A number below that is refused.
        random_state: seed, ``RandomState`` or None, as in scikit-learn.
        hidden: the widths between input and code; None with no ``n_layers`` for (128, 64).
        novel_label: of rows that ``fit`` leaves out, where it gets y: in a cross-validation, the folds that train hold
            novel rows, too. None ignores y. Of several kinds of fault make one: ``np.where(y == "ok", 1, -1)``.
        device: to train on, "cpu", "cuda", "mps" or "auto".
        verbose: say on stderr how far training is, and what was left out.

    Attributes:
        model_: the trained autoencoder, a torch module in eval mode, float64.
        pathway_: its ``rapp.Pathway``; ``pathway_.normal`` has the scores of the rows that calibrate.
        method_, architecture_: what was fitted: the method; model, features, bottleneck, layers, widths between.
        false_alarm_rate_, offset_: α, and ``score_samples`` − ``offset_`` is ``decision_function``.
        n_iter_: epochs trained.
        n_features_in_, feature_names_in_: number and, of a DataFrame, names of the features seen in ``fit``.
    """

    def __init__(
        self,
        method: str = "nap",
        model: str = "ae",
        n_layers: int | None = None,
        bottleneck: int | None = None,
        epochs: int = 100,
        batch: int = 128,
        lr: float = 1e-3,
        false_alarm_rate: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        hidden: tuple[int, ...] | None = None,
        novel_label: object = -1,
        device: str = "cpu",
        verbose: bool = False,
        patience: int | None = None,
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
        self.hidden = hidden
        self.novel_label = novel_label
        self.device = device
        self.verbose = verbose
        self.patience = patience

    @pinned(THREADS)
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> "RaPP":
        """Train on X (n, n_features), at least 2 rows, all normal but those whose y is ``novel_label``. Returns self.

        Raises:
            ValueError: a parameter or rows that cannot be used; a rate of false alarms that needs more rows.
            FloatingPointError: training diverged; scale the features or lower ``lr``.

        Warns:
            CalibrationWarning: fewer than 95 rows.
            FewRowsWarning: too few rows for NAP.
        """
        x = self._normal(self._rows(X, ensure_min_samples=2), y)
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is unknown; allowed: {', '.join(METHODS)}")
        if self.false_alarm_rate is not None:
            calibration.check(self.false_alarm_rate)
        random = check_random_state(self.random_state)
        rows = torch.from_numpy(x[random.permutation(len(x))])
        fifth, enough = len(rows) // 5, len(rows) >= ENOUGH
        n = fifth or len(rows)  # that calibrate
        rate = max(RATE, 1 / (n + 1)) if self.false_alarm_rate is None else float(self.false_alarm_rate)
        if n < (least := calibration.rows_needed(rate)):
            raise ValueError(
                f"false_alarm_rate={rate} needs {least} rows that calibrate, a fifth of {5 * least}; "
                f"there are {len(rows)} rows: fit on more, or accept {1 / (n + 1):.3g} or more"
            )
        held_out, rest = (rows[:fifth], rows[fifth:]) if fifth else (rows, rows)
        few = len(rows) // 20  # a tenth calibrated no better, and left fewer rows to train on
        val, fitted = (rest[:few], rest[few:]) if enough else (held_out, rest)
        config, seed = self._config(rest.numpy()), random.randint(2**31 - 1)
        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller has set
            trained = train(fitted.float(), val.float(), config, seed, None, bool(self.verbose), self.patience)
        self.model_ = trained.model.cpu().double()  # Apple's GPU has no float64
        self.n_iter_, self.method_ = len(trained.history), self.method
        self.architecture_ = [config.model, x.shape[1], config.bottleneck, config.n_layers, config.hidden]
        self.quantiles_ = np.quantile(fitted.numpy(), np.linspace(0, 1, QUANTILES), axis=0)
        self.pathway_ = Pathway(self.model_.encoder, self.model_.decode, include_input=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FewRowsWarning)
            self.pathway_.fit(fitted)
        self.pathway_.calibrate(held_out)
        if self.method == "nap" and (said := self.pathway_.whitening.shortage):
            warnings.warn(said, FewRowsWarning, stacklevel=3)  # 3: there is a decorator in between
        self._set_threshold(rate)
        if not enough:
            said = f"with fewer than {ENOUGH} rows, p-values and a false-alarm rate of {rate:.1%} are approximate"
            less = f"; {n} rows that calibrate allow no less" if rate > RATE and self.false_alarm_rate is None else ""
            warnings.warn(said + less, CalibrationWarning, stacklevel=3)
        return self

    def fit_predict(self, X: ArrayLike, y: ArrayLike | None = None) -> np.ndarray:
        """``fit(X, y).predict(X)``; scikit-learn's own would drop y and train on novel rows."""
        return self.fit(X, y).predict(X)

    def _rows(self, X: ArrayLike, **options: Any) -> np.ndarray:
        X = np.ma.filled(X.astype(np.float64), np.nan) if isinstance(X, np.ma.MaskedArray) else X
        return validate_data(self, X, dtype=np.float64, order="C", **options)

    def _normal(self, x: np.ndarray, y: ArrayLike | None) -> np.ndarray:
        """The rows of x that y does not call novel."""
        is_normal, doubt = normal_rows(y, self.novel_label, len(x))
        if doubt:
            warnings.warn(f"{doubt}, or set novel_label", stacklevel=4)
        if self.verbose and not is_normal.all():
            say(f"{(~is_normal).sum()} of {len(x)} rows are left out, for their label is {self.novel_label!r}")
        return x[is_normal]

    def _config(self, x: np.ndarray) -> TrainingConfig:
        width = min(bottleneck(x), max(1, x.shape[1] // 2)) if self.bottleneck is None else self.bottleneck
        if not (is_whole(width) and 1 <= width <= x.shape[1]):
            raise ValueError(f"bottleneck={width!r} must lie between 1 and the number of features, {x.shape[1]}")
        if self.patience is not None and not (is_whole(self.patience) and self.patience >= 1):
            raise ValueError(f"patience={self.patience!r} must be a whole number of at least 1, or None")
        hidden = None if self.hidden is None else tuple(np.atleast_1d(self.hidden).tolist())
        if hidden is None and self.n_layers is None:
            hidden = HIDDEN
        n_layers = len(hidden or ()) + 1 if self.n_layers is None else self.n_layers
        return TrainingConfig(
            self.model, n_layers, width, hidden, samples=1, epochs=self.epochs, batch=self.batch, lr=self.lr,
            device=self.device, threads=THREADS,
        )  # fmt: skip

    def _set_threshold(self, rate: float) -> None:
        self.offset_ = -calibration.threshold(self.pathway_.normal[self.method_], rate)
        self.false_alarm_rate_ = float(rate)

    def set_false_alarm_rate(self, rate: float) -> "RaPP":
        """Move the threshold to a ``rate``, without training; returns self, or raises a ValueError of few rows."""
        check_is_fitted(self)
        self._set_threshold(rate)
        return self

    @pinned(THREADS)
    def scores(self, X: ArrayLike) -> pd.DataFrame:
        """``recon``, ``sap`` and ``nap`` of X (n, n_features), a column each, higher = more novel; all from one fit."""
        check_is_fitted(self)
        x = torch.tensor(self._rows(X, reset=False))
        return pd.DataFrame(self.pathway_.score(x), index=X.index if isinstance(X, pd.DataFrame) else None)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Normality of X (n, n_features): minus the pathway score, (n,) float64; higher is more normal."""
        return -self.scores(X)[self.method_].to_numpy()

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """How far X (n, n_features) is from the threshold: ``score_samples`` − ``offset_``, (n,); negative is novel."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The decision for each row of X (n, n_features): 1 for normal, −1 for novel, (n,) int."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_value(self, X: ArrayLike) -> np.ndarray:
        """How unusual each row of X (n, n_features) is among normal ones, (n,) in (0, 1]; low is novel.

        Of new normal rows, at most a share α has a p-value of at most α (``calibration.p_values``); with fewer than 95
        rows in ``fit``, about.
        """
        return calibration.p_values(scores=-self.score_samples(X), normal=self.pathway_.normal[self.method_])

    @pinned(THREADS)
    def explain(self, X: ArrayLike, by: str = "feature") -> pd.DataFrame:
        """What makes each row's score high, of X (n, n_features), as a DataFrame with a row for each.

        ``by="feature"``: how much the score falls if that feature alone takes its best value, x̂'s or a quantile of its
        training values; 0 where none is better. It takes some hundred scores a row: explain flagged rows.
        ``by="layer"``: what each layer, 0 for the input, adds to the score. These sum to it, and NAP's can be negative:
        its directions run through several layers. Another ``by`` raises a ``ValueError``.
        """
        check_is_fitted(self)
        x = torch.tensor(self._rows(X, reset=False, ensure_min_samples=0))
        index = X.index if isinstance(X, pd.DataFrame) else None
        if by == "layer":
            return pd.DataFrame(explain.by_layer(self.pathway_, x, self.method_), index)
        if by != "feature":
            raise ValueError(f"by={by!r} is unknown; allowed: feature, layer")
        names = getattr(self, "feature_names_in_", None)
        return pd.DataFrame(explain.by_feature(self.pathway_, x, self.method_, self.quantiles_), index, names)

    def save(self, folder: str | PathLike) -> None:
        """Write the fitted estimator into a folder (``saving``); ``rapp.load`` reads it. Nothing is pickled."""
        check_is_fitted(self)
        saving.save(self, Path(folder).expanduser())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "offset_")


def load(folder: str | PathLike) -> Any:
    """The fitted ``RaPP`` or ``Whitening`` that was saved into a folder.

    A ``Whitening`` goes with its own network: ``Pathway(encoder, decoder, whitening=rapp.load(folder))``.

    Raises:
        DamagedFileError: nothing was saved there, or a table's model; it was altered or cut short; a newer rapp's.
    """
    tensors, about = saving.read(Path(folder).expanduser())
    if "table" in about:
        raise DamagedFileError(f"{folder} is a model of rapp fit, which scales a table: rapp score {folder} TABLE")
    if "params" not in about:
        return Whitening.restored(tensors, about["whitening"])
    return restored(tensors, about)


def restored(tensors: dict[str, torch.Tensor], about: dict) -> RaPP:
    """The fitted ``RaPP`` of what ``saving.read`` has read."""
    params = about["params"]
    hidden = None if params["hidden"] is None else tuple(np.atleast_1d(params["hidden"]).tolist())
    estimator = RaPP(**params | {"hidden": hidden})
    saving.restore(estimator, tensors, about)
    return estimator
