from bots.terminal.escaping import printable


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert (
        printable("a\x1b]0;PWNED\x07 \x1b[31mred\x9b2J")
        == "a\ufffd]0;PWNED\ufffd \ufffd[31mred\ufffd2J"
    )


def test_markup_and_plain_letters_stay() -> None:
    assert printable("[bold]猫\tcat\n") == "[bold]猫\tcat\n"


def test_half_a_surrogate_pair_can_be_printed() -> None:
    assert printable("a \ud800 b").encode() == "a \ufffd b".encode()
