"""What devices were measured at, in a folder."""

from pathlib import Path

from engine.device.figures import add_figures, figures_in


def test_what_was_measured_first_stands(tmp_path: Path) -> None:
    assert figures_in(None) == figures_in(tmp_path) == {}
    assert add_figures(tmp_path, {"a": 1}, keep=True)
    assert add_figures(tmp_path, {"a": 2, "b": 2}, keep=True)
    assert figures_in(tmp_path) == {"a": 1, "b": 2}
    assert not add_figures(tmp_path, {"a": 3}, keep=True)
    assert add_figures(tmp_path, {"a": 3}, keep=False)
    assert figures_in(tmp_path) == {"a": 3, "b": 2}
