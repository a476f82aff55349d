"""RaPP: novelty detection with reconstruction along the projection pathway.

The paper is in ``rapp.pathway``. To score with your own autoencoder:

    from rapp import Pathway
    scores = Pathway(encoder_layers, decoder).fit(x_train).score(x)  # recon, sap, nap: higher = more novel
"""

from rapp.pathway import Pathway, Whitening, nap, recon, sap

__all__ = ["Pathway", "Whitening", "nap", "recon", "sap"]
