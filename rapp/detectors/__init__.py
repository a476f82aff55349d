"""Every method by name, behind one interface (``base.Detector``): the paper's, and those that it is compared with.

Examples:
    >>> import numpy as np
    >>> from rapp import data, detectors
    >>> detectors.names(images=False)[:4]
    ['ae', 'vae', 'aae', 'pca']
    >>> detectors.DETECTORS["knn"].title  # of a Known
    'k-th neighbour'
    >>> x = np.random.default_rng(0).normal(size=(100, 5))
    >>> knn = detectors.make("knn").fit(x)  # a Detector
    >>> knn.scores(x)["score"].shape, knn.predict(x[:1] + 100)
    ((100,), array([-1]))
    >>> detectors.options("knn").options
    (('k', 5),)
    >>> detectors.config_for("quick", data.load("digits"), "vae", epochs=3).epochs
    3
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from rapp.config import DetectorOptions, ParameterError, TrainingConfig, check_name
from rapp.data.dataset import Dataset
from rapp.detectors import classical
from rapp.detectors.autoencoder import PathwayDetector, bottleneck, training_config
from rapp.detectors.base import Detector
from rapp.detectors.f_anogan import FastAnoGAN
from rapp.detectors.gan import AnoGAN
from rapp.detectors.gpnd import GPND
from rapp.detectors.linear import LinearAutoencoder
from rapp.detectors.one_class import OCNN, DeepOCSVM, DeepSVDD
from rapp.detectors.self_supervised import SelfSupervised

Config = TrainingConfig | DetectorOptions  # all that decides a detector but data and seed


@dataclass(frozen=True)
class Known:
    """What a method's name stands for."""

    detector: type[Detector]  #: its class
    title: str  #: for people
    chapter: str  #: the one that explains it
    scores: tuple[str, ...]  #: the ones compared with other methods', its own first
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  #: what sets it apart from others of its class

    def allowed(self) -> list[str]:
        """Names of the options that can be changed."""
        return [field.name for field in dataclasses.fields(self.detector) if field.name != "image_shape"]


PATHWAY, GEOM = ("nap", "sap", "recon"), ("dirichlet", "softmax")
#: What each method's name stands for.
DETECTORS: dict[str, Known] = {
    "ae": Known(PathwayDetector, "AE", "04_base_models", PATHWAY),
    "vae": Known(PathwayDetector, "VAE", "04_base_models", PATHWAY),
    "aae": Known(PathwayDetector, "AAE", "04_base_models", PATHWAY),
    "pca": Known(classical.PCAReconstruction, "PCA", "05_classical", ("recon",)),
    "linear-ae": Known(LinearAutoencoder, "Linear autoencoder", "05_classical", ("recon",)),
    "ocsvm": Known(classical.OneClass, "One-class SVM", "05_classical", ("score",)),
    "gmm": Known(classical.Mixture, "Gaussian mixture", "05_classical", ("score",)),
    "iforest": Known(classical.Forest, "Isolation forest", "05_classical", ("score",)),
    "lof": Known(classical.LocalOutliers, "Local outlier factor", "05_classical", ("score",)),
    "knn": Known(classical.Neighbours, "k-th neighbour", "05_classical", ("score",)),
    "ecod": Known(classical.Tails, "ECOD", "05_classical", ("score",)),
    "kde": Known(classical.Kernels, "Kernel density", "05_classical", ("score",)),
    "geom": Known(SelfSupervised, "GEOM-72", "08_self_supervised", GEOM),
    "geom-8": Known(SelfSupervised, "GEOM-8", "08_self_supervised", GEOM, {"shifts": False, "epochs": 25}),
    "deep-svdd": Known(DeepSVDD, "Deep SVDD", "06_deep_kernels", ("score",)),
    "deep-svdd-soft": Known(DeepSVDD, "Deep SVDD, soft", "06_deep_kernels", ("score",), {"soft": True}),
    "oc-nn": Known(OCNN, "OC-NN", "06_deep_kernels", ("score",)),
    "deep-ocsvm": Known(DeepOCSVM, "One-class SVM on codes", "06_deep_kernels", ("score",)),
    "anogan": Known(AnoGAN, "AnoGAN", "07_gans", ("score",)),
    "f-anogan": Known(FastAnoGAN, "f-AnoGAN", "07_gans", ("score",)),
    "gpnd": Known(GPND, "GPND", "07_gans", ("score",)),
}


def names(images: bool = True) -> list[str]:
    """Names of all methods, the paper's autoencoders first; ``images=False`` leaves out those that need images."""
    return [name for name, method in DETECTORS.items() if images or not method.detector.NEEDS_IMAGES]


def known(name: str) -> Known:
    """What the name of a method stands for.

    Raises:
        ParameterError: naming it and those that are allowed.
    """
    if name not in DETECTORS:
        raise ParameterError(f"model {name!r} is unknown; allowed: {', '.join(DETECTORS)}")
    return DETECTORS[name]


def make(name: str, image_shape: tuple[int, int] | None = None, profile: str = "paper", **changes: Any) -> Detector:
    """A detector by name: ``fit(train, validation, seed)``, then ``scores(x)``, higher = more novel.

    Args:
        name: of ``names()``.
        image_shape: (height, width) of the rows, which are flattened, pixels in [0, 1]; None for a table's rows,
            standardised before, which give linear detectors the width of an autoencoder's code.
        profile: "paper", "quick" or "tiny".
        changes: options that differ from the profile's.

    Raises:
        ValueError: naming the value and what is allowed.
    """
    if known(name).detector is PathwayDetector:
        check_name(profile)
        return PathwayDetector(image_shape=image_shape, model=name, profile=profile, changes=changes)
    detector = build(options(name, profile, **changes), image_shape)
    if image_shape is None and changes.get("n_components") is None and hasattr(detector, "n_components"):
        detector.n_components = None  # that is, from the rows
    return detector


def build(config: Config, image_shape: tuple[int, int] | None = None) -> Detector:
    """The detector that a config describes, not yet fitted."""
    if isinstance(config, TrainingConfig):
        return PathwayDetector(config=config, image_shape=image_shape)
    method = DETECTORS[config.model]
    where = {name: getattr(config, name) for name in ("device", "threads") if name in method.allowed()}
    return method.detector(image_shape=image_shape, **dict(config.options), **where)


def config_for(profile: str, data: Dataset, name: str, **changes: Any) -> Config:
    """The config of a detector at a profile for a data set, with changes by name; a change of None changes nothing.

    A table gives linear detectors the width of an autoencoder's code.

    Raises:
        ParameterError: naming the value and what is allowed.
    """
    method, is_image = known(name), data.image_shape is not None
    if method.detector is PathwayDetector:
        return training_config(profile, name, data.x, is_image, **changes)
    if method.detector.NEEDS_IMAGES and not is_image:
        raise ParameterError(f"{name} needs images, and {data.name} is a table")
    if not is_image and "n_components" in method.allowed():
        changes = {"n_components": bottleneck(data.x)} | changes
    return options(name, profile, **changes)


def options(name: str, profile: str = "paper", **changes: Any) -> DetectorOptions:
    """The options of a detector that is no autoencoder at a profile, with changes by name.

    Raises:
        ParameterError: naming the value and what is allowed.
    """
    check_name(profile)
    method = known(name)
    if unknown := sorted(set(changes) - set(method.allowed())):
        raise ParameterError(f"{name} has no parameter {unknown[0]!r}; allowed: {', '.join(method.allowed())}")
    values = method.detector.PROFILES.get(profile, {}) | method.options
    values |= {option: value for option, value in changes.items() if value is not None}
    try:
        made = method.detector(**values)  # refuses values that are not allowed
    except ValueError as error:
        raise ParameterError(str(error)) from error
    chosen = {option: getattr(made, option) for option in method.allowed()}
    where = {option: chosen.pop(option) for option in ("device", "threads") if option in chosen}
    return DetectorOptions(name, tuple(sorted(chosen.items())), **where)
