"""Heat maps show where the words' things are."""

import pytest

from tests.starter.heat import mean, measure


@pytest.mark.slow
def test_a_subjects_heat_lies_on_the_figure_and_the_seas_on_the_ground() -> None:
    found = list(measure(50))
    for contrast in (mean([each.figure for each in found]), mean([each.ground for each in found])):
        assert contrast.inside >= 2 * contrast.outside, contrast
