from tests.bots.terminal.conftest import Marble


def test_styles_are_kept_listed_drawn_with_and_removed(marble: Marble) -> None:
    assert "No styles yet" in marble("styles").out
    answer = marble("styles", "add", "Noir", "film", "noir, {prompt}", "--no", "colour")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "noir  film noir, {prompt} (not: colour)\n"
    drawn = marble("imagine", "a cat", "--style", "noir", "--model", "tiny", "--steps", "1")
    assert drawn.code == 0, drawn.err
    assert "film noir, a cat" in drawn.out
    assert "style noir" in drawn.out
    assert "style" in marble("show").out
    refused = marble("imagine", "a cat", "--style", "noire")
    assert (refused.code, "did you mean 'noir'" in refused.err) == (2, True)
    assert marble("styles", "remove", "noir").code == 0
    assert marble("styles", "remove", "noir").code == 2
    assert marble("rerun").code == 0  # the recipe holds the words


def test_a_style_of_one_place_is_not_known_in_others(marble: Marble) -> None:
    marble("styles", "--place", "discord:1", "add", "gold", "gilded")
    assert "gold" in marble("styles", "--place", "discord:1").out
    assert "gold" not in marble("styles").out
    assert "no styles have been added" in marble("imagine", "a cat", "--style", "gold").err
