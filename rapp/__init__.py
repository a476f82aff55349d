"""RaPP: novelty detection with reconstruction along the projection pathway.

The paper's scores are in ``rapp.pathway``, NAP's whitening in ``rapp.whitening``, the AE, VAE and AAE with their losses
in ``rapp.models``, the split in ``rapp.splits``. To score with your own autoencoder:

    from rapp import Pathway
    scores = Pathway(encoder_layers, decoder).fit(x_train).score(x)  # recon, sap, nap: higher = more novel

To use it on a table, as a scikit-learn estimator, which has scikit-learn's signs (higher = more normal):

    from rapp import RaPP
    RaPP().fit(x_train).predict(x)  # 1 normal, −1 novel
"""

from rapp.estimator import RaPP, load
from rapp.pathway import Pathway, nap, recon, sap
from rapp.saving import save_whitening
from rapp.whitening import Whitening

__all__ = ["Pathway", "RaPP", "Whitening", "load", "nap", "recon", "sap", "save_whitening"]
