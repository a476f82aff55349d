"""Chapter 06's training in the plane."""

import numpy as np
import torch

from rappbook.chapters import sphere
from rappbook.figures import one_class as figures


def test_codes_are_drawn_to_a_centre_that_stays_and_novel_ones_are_left_behind():
    torch.manual_seed(5)
    drawn_before = torch.get_rng_state()
    course = sphere.course(at=(0, 100))
    assert (torch.get_rng_state() == drawn_before).all()  # who calls it keeps his random numbers
    first, last = course.moments
    assert [first.steps, last.steps] == [0, 100]
    np.testing.assert_allclose(first.normal.mean(0), course.c, atol=1e-6)
    assert last.loss < first.loss / 10
    assert last.radius < first.radius / 2
    outside = [(np.linalg.norm(m.novel - course.c, axis=1) > m.radius).mean() for m in course.moments]
    assert outside[1] > max(0.8, outside[0])


def test_the_radius_holds_95_percent_and_the_grid_is_mapped_as_points_are():
    course = sphere.course(at=(0, 3))
    for moment in course.moments:
        d = np.linalg.norm(moment.normal - course.c, axis=1)
        assert 0.94 <= (d <= moment.radius).mean() <= 0.96
        np.testing.assert_allclose(moment.loss, np.square(d).mean(), rtol=1e-4)
        i, j = (np.abs(along - at).argmin() for along, at in zip((course.grid[1][:, 0], course.grid[0][0]),
                                                                 course.normal[0][::-1], strict=True))  # fmt: skip
        assert abs(moment.d[i, j] - d[0]) < 0.1 * moment.d.max()


def test_the_strip_has_a_column_for_each_moment():
    assert len(figures.drawn_together(sphere.course(at=(0, 2, 4))).axes) == 6
