"""The rivals: detectors that know nothing of the pathway, by name, behind one interface (see ``base.Detector``)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from rapp.baselines.base import Detector
from rapp.baselines.classical import Forest, Kernels, LocalOutliers, Mixture, OneClass, PCAReconstruction
from rapp.baselines.f_anogan import FastAnoGAN
from rapp.baselines.gan import AnoGAN
from rapp.baselines.gpnd import GPND
from rapp.baselines.linear import LinearAutoencoder
from rapp.baselines.one_class import OCNN, DeepOCSVM, DeepSVDD
from rapp.baselines.self_supervised import SelfSupervised
from rapp.settings import RivalSettings


@dataclass(frozen=True)
class Rival:
    """A name's detector."""

    of: type[Detector]
    title: str  # for people
    chapter: str  # that explains it
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  # what sets it apart from others of its class
    scores: tuple[str, ...] = ()  # those that are compared with other methods'; its own first

    def allowed(self) -> list[str]:
        """The options that can be changed."""
        return [field.name for field in dataclasses.fields(self.of) if field.name != "image_shape"]


RIVALS: dict[str, Rival] = {
    "pca": Rival(PCAReconstruction, "PCA", "05_classical", scores=("recon",)),
    "linear-ae": Rival(LinearAutoencoder, "Linear autoencoder", "05_classical", scores=("recon",)),
    "ocsvm": Rival(OneClass, "One-class SVM", "05_classical", scores=("score",)),
    "gmm": Rival(Mixture, "Gaussian mixture", "05_classical", scores=("score",)),
    "iforest": Rival(Forest, "Isolation forest", "05_classical", scores=("score",)),
    "lof": Rival(LocalOutliers, "Local outlier factor", "05_classical", scores=("score",)),
    "kde": Rival(Kernels, "Kernel density", "05_classical", scores=("score",)),
    "geom": Rival(SelfSupervised, "GEOM-72", "08_self_supervised", scores=("dirichlet", "softmax")),
    "geom-8": Rival(
        SelfSupervised,
        "GEOM-8",
        "08_self_supervised",
        {"shifts": False, "epochs": 25},
        ("dirichlet", "softmax"),
    ),
    "deep-svdd": Rival(DeepSVDD, "Deep SVDD", "06_deep_kernels", scores=("score",)),
    "deep-svdd-soft": Rival(DeepSVDD, "Deep SVDD, soft", "06_deep_kernels", {"soft": True}, ("score",)),
    "oc-nn": Rival(OCNN, "OC-NN", "06_deep_kernels", scores=("score",)),
    "deep-ocsvm": Rival(DeepOCSVM, "One-class SVM on codes", "06_deep_kernels", scores=("score",)),
    "anogan": Rival(AnoGAN, "AnoGAN", "07_gans", scores=("score",)),
    "f-anogan": Rival(FastAnoGAN, "f-AnoGAN", "07_gans", scores=("score",)),
    "gpnd": Rival(GPND, "GPND", "07_gans", scores=("score",)),
}


def settings(name: str, profile: str = "paper", **changes: Any) -> RivalSettings:
    """A rival's settings at a profile, with changes by name; a change of None changes nothing.

    Raises:
        ValueError: naming the value and what is allowed.
    """
    rival = RIVALS[name]
    if unknown := sorted(set(changes) - set(rival.allowed())):
        raise ValueError(f"{name} has no parameter {unknown[0]!r}; allowed: {', '.join(rival.allowed())}")
    values = rival.of.PROFILES.get(profile, {}) | rival.options
    values |= {option: value for option, value in changes.items() if value is not None}
    made = rival.of(**values)  # it says what it cannot do
    about = {option: getattr(made, option) for option in rival.allowed()}
    where = {option: about.pop(option) for option in ("device", "threads") if option in about}
    return RivalSettings(name, tuple(sorted(about.items())), **where)


def build(of: RivalSettings, image_shape: tuple[int, int] | None = None) -> Detector:
    """The detector that settings describe, not yet fitted."""
    rival = RIVALS[of.model]
    where = {name: getattr(of, name) for name in ("device", "threads") if name in rival.allowed()}
    return rival.of(image_shape=image_shape, **dict(of.options), **where)
