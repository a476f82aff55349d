"""RaPP as a scikit-learn estimator, for a ``Pipeline`` or ``cross_validate``."""

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from rapp import calibration, explain, labels, saving
from rapp.config import TrainingConfig, is_whole
from rapp.detectors.autoencoder import bottleneck
from rapp.models import MODELS
from rapp.pathway import Pathway
from rapp.progress import say
from rapp.stacks import train
from rapp.threads import pinned
from rapp.training import under
from rapp.whitening import Whitening

METHODS = ("nap", "sap", "recon")
THREADS = 1  # of the estimator: small batches gain little from a second core, and wait for it where it is busy
ARRAYS = ("held_out_scores_", "levels_", "mean_", "scale_")
FITTED = ("method_", "approximate_", "false_alarm_rate_", "offset_", "n_left_out_", "n_iter_", "n_features_in_",
          "feature_names_in_", "_sizes")  # fmt: skip
ABOVE_ROUNDING = 1 + 1e-9  # the row that is the threshold is not above it, in a batch of whatever size
LEVELS = np.linspace(0, 1, 11)  # quantiles that ``explain`` tries in the place of a row's own value
CHOOSE = 20  # one row in so many chooses the epoch, if there are enough


class RaPP(OutlierMixin, BaseEstimator):
    """An autoencoder trained on normal rows, with a score along its projection pathway.

    Features are standardised inside, so that a ``StandardScaler`` before it changes nothing. The input space enters the
    pathway, as for tables in the authors' code, and a VAE decodes its mean. Training takes float32. Scoring takes
    float64 on the CPU and on one thread, so that a process forked later does not wait for threads it does not have.

    **Signs.** Everywhere else in rapp a higher score is more novel. Here scikit-learn's convention holds: higher is
    more *normal*, ``predict`` gives 1 for normal and −1 for novel, and so must y: with y = 1 for novel rows,
    ``scoring="roc_auc"`` silently reports 1 − AUROC. ``scores`` and ``explain`` alone keep rapp's sign.

    **Labels.** ``fit(X)`` takes all rows as normal. ``fit(X, y)`` leaves out those that y calls ``novel_label``, so
    that ``cross_val_score(RaPP(), X, y, cv=StratifiedKFold(3), scoring="roc_auc")`` and ``GridSearchCV`` train on
    normal rows only. Where y has several kinds of fault, pass ``np.where(y == "ok", 1, -1)``.

    **Held-out rows.** A fifth of the rows gives the threshold and the p-values, and has no part in training; a
    twentieth more choose the epoch. With fewer than 95 rows one fifth does both, so that p-values are approximate, and
    a warning says so.

    Args:
        method: ``nap``, ``sap`` or ``recon`` (paper, section 4). What it was at ``fit`` counts until the next one.
        model: ``ae``, ``vae`` or ``aae``.
        n_layers: layers of encoder and decoder each; ``hidden``, if given, counts instead.
        bottleneck: width of the code, at most the number of features; None for as many as principal components
            explain 90 % of the variance.
        hidden: widths of the layers between input and code, a number for one layer; None interpolates.
        epochs: passes over the training rows; the best by reconstruction of held-out rows is kept.
        batch: rows a step, at least 2.
        lr: Adam's learning rate.
        false_alarm_rate: share of fresh normal rows that ``predict`` may call novel; it needs 5 (1/rate − 1) rows.
            None for 0.05, or what fewer than 95 rows allow, with a warning.
        novel_label: what y calls novel; None ignores y.
        device: where to train: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the best that is there.
        verbose: whether to say on stderr how training goes on, and how many rows y leaves out.
        random_state: seed, ``RandomState`` or None, as in scikit-learn.

    Attributes:
        mean_, scale_: (n_features,) each, by which rows are standardised; held-out rows have no part in them.
        model_, pathway_: the trained autoencoder, in eval mode and float64, and its ``Pathway``; of standardised rows.
        method_, false_alarm_rate_: those that ``predict`` keeps to.
        held_out_scores_: (n,) float64, sorted; of the rows that set the threshold, higher = more novel.
        approximate_: whether these rows chose the epoch, too, or even trained.
        offset_: ``decision_function`` is ``score_samples`` − ``offset_``.
        levels_: (11, n_features) deciles of the training rows, with both ends, for ``explain``.
        n_left_out_, n_iter_: rows that y called novel, and epochs trained.
        n_features_in_, feature_names_in_: number and, of a DataFrame, names of the features seen in ``fit``.
    """

    def __init__(
        self,
        method: str = "nap",
        model: str = "ae",
        n_layers: int = 3,
        bottleneck: int | None = None,
        hidden: Sequence[int] | int | None = None,
        epochs: int = 100,
        batch: int = 32,
        lr: float = 1e-3,
        false_alarm_rate: float | None = None,
        novel_label: Any = -1,
        device: str = "cpu",
        verbose: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.method = method
        self.model = model
        self.n_layers = n_layers
        self.bottleneck = bottleneck
        self.hidden = hidden
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.false_alarm_rate = false_alarm_rate
        self.novel_label = novel_label
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Train on the normal rows of X (n, n_features), at least 5.

        Args:
            X: finite numbers; a DataFrame's column names are kept, and later rows checked by them.
            y: (n,) labels; None calls all rows normal.

        Warns:
            UserWarning: fewer than 95 rows, too few rows for NAP, or a y without ``novel_label``, with what to do.

        Raises:
            ValueError: a parameter, labels or rows that cannot be used, or too few rows for ``false_alarm_rate``.
            FloatingPointError: training diverged; lower ``lr``.
        """
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is unknown; allowed: {', '.join(METHODS)}")
        x: np.ndarray = validate_data(self, X, dtype=np.float64, ensure_min_samples=labels.LEAST)
        is_normal, doubt = labels.normal_rows(y, self.novel_label, len(x))
        self.n_left_out_ = int((~is_normal).sum())
        if self.verbose and self.n_left_out_:
            say(f"{self.n_left_out_} of {len(x)} rows are {self.novel_label!r} in y: left out of training")
        few_rows = self._fit(x[is_normal])
        few_for_nap = self.pathway_.whitening.shortage() if self.method == "nap" else ""
        for warning in filter(None, (doubt, few_rows, few_for_nap)):
            warnings.warn(warning, stacklevel=2)
        return self

    def fit_predict(self, X: ArrayLike, y: ArrayLike | None = None) -> np.ndarray:
        """``fit(X, y).predict(X)``; scikit-learn's own would drop y."""
        return self.fit(X, y).predict(X)

    def _fit(self, x: np.ndarray) -> str:
        """``fit`` to normal rows; returns what is doubtful about the threshold."""
        rate, doubt = calibration.reachable(len(x), self.false_alarm_rate)
        random = check_random_state(self.random_state)
        x, n_held_out, enough = x[random.permutation(len(x))], len(x) // calibration.SHARE, len(x) >= calibration.ENOUGH
        config, scaler = self._config(x[n_held_out:]), StandardScaler().fit(x[n_held_out:])
        held_out, rest = torch.from_numpy(scaler.transform(x)).tensor_split([n_held_out])
        choosing, fitted = (rest[: len(x) // CHOOSE], rest[len(x) // CHOOSE :]) if enough else (held_out, rest)
        seed = random.randint(2**31 - 1)
        with pinned(THREADS), torch.inference_mode(False), torch.enable_grad():  # whatever the caller has set
            trained = train(fitted.float(), choosing.float(), config, seed, progress=bool(self.verbose))
            model = trained.model.cpu().double()
            pathway = Pathway(model.encoder, model.decode, include_input=True).fit_quietly(fitted)
            scores = pathway.score(held_out)[self.method]
        self.model_, self.pathway_, self.method_, self.n_iter_ = model, pathway, self.method, len(trained.history)
        self.mean_, self.scale_, self.approximate_ = scaler.mean_, scaler.scale_, not enough
        self.held_out_scores_ = np.sort(scores) * ABOVE_ROUNDING
        self.levels_ = np.quantile(x[-len(fitted) :], LEVELS, axis=0)
        self._sizes = config.model, x.shape[1], config.bottleneck, config.n_layers, config.hidden
        self._set_rate(rate)
        return doubt

    def _config(self, x: np.ndarray) -> TrainingConfig:
        width, hidden, n_layers = self.bottleneck, self.hidden, self.n_layers
        if width is not None and not (is_whole(width) and 1 <= width <= x.shape[1]):
            raise ValueError(f"bottleneck={width!r} must lie between 1 and the number of features, {x.shape[1]}")
        if hidden is not None:
            hidden, n_layers = tuple(np.atleast_1d(hidden).tolist()), np.size(hidden) + 1
        return TrainingConfig(
            self.model, n_layers, bottleneck(x) if width is None else width, hidden, samples=1, epochs=self.epochs,
            batch=self.batch, lr=self.lr, device=self.device, threads=THREADS,
        )  # fmt: skip

    def set_false_alarm_rate(self, rate: float) -> Self:
        """Move the threshold without training, and keep the rate for later fits; ``ValueError`` of too low a rate."""
        check_is_fitted(self)
        self._set_rate(rate)
        self.false_alarm_rate = rate
        return self

    def _set_rate(self, rate: float) -> None:
        self.offset_ = -calibration.threshold(self.held_out_scores_, rate)
        self.false_alarm_rate_ = float(rate)

    def _rows(self, X: ArrayLike, least: int = 1) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False, ensure_min_samples=least)

    def _standard(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy((x - self.mean_) / self.scale_)

    @pinned(THREADS)
    def _novelty(self, x: np.ndarray) -> np.ndarray:
        return self.pathway_.score(self._standard(x))[self.method_]

    @pinned(THREADS)
    def scores(self, X: ArrayLike) -> pd.DataFrame:
        """All scores of X (n, n_features) by one fit: columns recon, sap, nap; here higher = more *novel*."""
        return pd.DataFrame(self.pathway_.score(self._standard(self._rows(X))), index=_index(X))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Normality of X (n, n_features): minus the pathway score, (n,) float64; higher is more normal."""
        return -self._novelty(self._rows(X))

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """How far X (n, n_features) is from the threshold: ``score_samples`` − ``offset_``, (n,); negative is novel."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The decision for each row of X (n, n_features): 1 for normal, −1 for novel, (n,) int."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_value(self, X: ArrayLike) -> np.ndarray:
        """The share of normal rows that score at least as high as each row of X (n, n_features), (n,): small is novel.

        It is at least 1/(1 + number of held-out rows); ``predict`` says −1 where it is at most ``false_alarm_rate_``.
        """
        return calibration.p_values(self.held_out_scores_, self._novelty(self._rows(X)))

    @pinned(THREADS)
    def explain(self, X: ArrayLike, by: str = "feature") -> pd.DataFrame:
        """Why rows score as they do, in the fitted method's score; here higher = more *novel*.

        Pass the rows in question, such as ``X[detector.predict(X) == -1]``: by feature, each takes 11 scores a feature.

        Args:
            X: (n, n_features) rows.
            by: "feature", for how much a row's score falls if that feature alone takes its best value among the
                deciles of the training rows: at least 0, and no parts of a whole. "layer", for the layers' parts of
                the score, which sum to it; a part of NAP can be negative (``rapp.explain.by_layer``).

        Returns:
            a row per row of X and a column per feature, or per layer: "input", "layer 1", ….
        """
        x = self._rows(X, least=0)  # where none is flagged
        if by == "layer":
            parts = explain.by_layer(self.pathway_, self._standard(x), self.method_)
            columns = {f"layer {i}" if i else "input": part for i, part in parts.items()}
        elif by == "feature":
            names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(x.shape[1])])
            columns = dict(zip(names, explain.by_feature(self._novelty, x, self.levels_).T, strict=True))
        else:
            raise ValueError(f"by={by!r} is unknown; allowed: feature, layer")
        return pd.DataFrame(columns, index=_index(X))

    def save(self, folder: str | PathLike) -> Path:
        """``rapp.save(self, folder)``, for ``rapp.load``; a ``random_state`` that is no number is saved as None."""
        return saving.save(self, folder)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that was fitted, as tensors and JSON; ``restored`` takes it."""
        check_is_fitted(self)
        whitening, about = self.pathway_.whitening.state()
        tensors = {f"model.{name}": value for name, value in self.model_.state_dict().items()}
        tensors |= {f"whitening.{name}": value for name, value in whitening.items()}
        tensors |= {name: torch.from_numpy(getattr(self, name)) for name in ARRAYS}
        seed = self.random_state if is_whole(self.random_state) else None
        fitted = {name: getattr(self, name) for name in FITTED if hasattr(self, name)}
        return tensors, {"params": {**self.get_params(), "random_state": seed}, "fitted": fitted, "whitening": about}

    @classmethod
    def restored(cls, tensors: dict[str, Tensor], about: dict) -> Self:
        """A fitted estimator from what ``state`` gave."""
        self = cls(**about["params"])
        for name, value in (about["fitted"] | {name: tensors[name].numpy() for name in ARRAYS}).items():
            setattr(self, name, np.array(value, dtype=object) if name == "feature_names_in_" else value)
        model, *sizes = self._sizes
        self.model_ = MODELS[model](*sizes).double().eval()
        self.model_.load_state_dict(under("model.", tensors))
        whitening = Whitening.restored(under("whitening.", tensors), about["whitening"])
        self.pathway_ = Pathway(self.model_.encoder, self.model_.decode, include_input=True, whitening=whitening)
        return self


def load(folder: str | PathLike) -> Any:
    """The fitted ``RaPP`` or ``Whitening`` that ``save`` wrote into a folder; it scores as before, to the last digit.

    A ``Whitening`` goes with its own network: ``Pathway(encoder, decoder, whitening=…)``. What cannot be loaded raises
    a ``SavedModelError`` with file, reason and remedy.
    """
    kind, tensors, about = saving.read(folder)
    kinds: dict[str, Any] = {"RaPP": RaPP, "Whitening": Whitening}
    return kinds[kind].restored(tensors, about)


def _index(X: ArrayLike) -> pd.Index | None:
    return X.index if isinstance(X, pd.DataFrame) else None
