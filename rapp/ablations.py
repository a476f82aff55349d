"""One thing changed at a time: what chapter 11 trains and scores beyond the paper."""

import copy
from collections.abc import Collection
from dataclasses import replace

import pandas as pd
import torch

from rapp.datasets import Dataset
from rapp.experiments import Cell, Trial, features
from rapp.pathway import Whitening
from rapp.settings import pinned
from rapp.training import Run, Trained


def over_epochs(data: Dataset, cell: Cell, at: Collection[int]) -> pd.DataFrame:
    """AUROCs of one training run after some of its epochs, by the weights of that epoch and not by the best so far.

    Args:
        data: the data set.
        cell: what to train; of its settings, ``epochs`` counts for nothing.
        at: epochs to score after, counted from 1; the last one ends the run. Nothing is cached.

    Returns:
        epoch, val_error, score, auroc, seed.
    """
    rows = cell.split(data)
    x = features(data, rows)
    train, val = (torch.from_numpy(x[part]) for part in (rows.train, rows.val))
    run, parts = Run(train, val, replace(cell.settings, epochs=max(at)), cell.seed), []
    for epoch in range(1, max(at) + 1):
        with pinned(cell.settings.threads):
            run.epoch()
        if epoch not in at:
            continue
        model = copy.deepcopy(run.model).eval()
        trained = Trained(model, run.settings, cell.seed, str(run.device), epoch, run.seconds, run.history)
        trial = Trial(data, cell, rows, x, trained, Whitening())
        trial.pathway(whitening=trial.whitening).fit(trial.x("train"))
        trial.scores = trial.scores_of("test")
        scored = trial.rows()[["score", "auroc", "seed"]]
        parts.append(scored.assign(epoch=epoch, val_error=run.history[-1]["val_error"]))
    return pd.concat(parts, ignore_index=True)


def in_double(trial: Trial) -> Trial:
    """The same trial with its network computing in float64, to tell rounding from what is really there."""
    model = copy.deepcopy(trial.trained.model).double()
    return replace(trial, trained=replace(trial.trained, model=model))
