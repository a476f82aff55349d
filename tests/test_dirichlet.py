"""Chapter 08's toy with two answers."""

import numpy as np
import pandas as pd

from rappbook.chapters import dirichlet
from rappbook.figures import self_supervised as figures

IMAGES = pd.DataFrame({"first": [0.5, 0.9], "second": [0.5, 0.9], "normal": [True, False]}, ["normal", "novel"])


def test_the_fit_finds_what_the_answers_were_drawn_from():
    toy = dirichlet.two_answers()
    np.testing.assert_allclose(toy.alpha, [12, 12], rtol=0.1)
    np.testing.assert_array_equal(toy.normal, dirichlet.two_answers().normal)


def test_the_density_is_one_over_the_line_and_highest_where_normal_images_are():
    toy, p = dirichlet.two_answers(), np.linspace(0.0005, 0.9995, 1000)
    density = toy.density(p)
    np.testing.assert_allclose(density.mean(), 1, rtol=1e-2)
    assert abs(p[density.argmax()] - np.median(toy.normal)) < 0.02
    assert density[0] < density.max() / 1000


def test_the_picture_has_the_line_twice():
    assert len(figures.two_answers(dirichlet.two_answers(n=50), IMAGES).axes) == 2
