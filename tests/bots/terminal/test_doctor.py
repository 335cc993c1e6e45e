from pathlib import Path

from tests.bots.terminal.conftest import Marble


def test_the_doctor_says_a_line_each_and_ends_with_1_if_something_is_wrong(
    marble: Marble, data: Path
) -> None:
    answer = marble("doctor")
    assert answer.code == 0, answer.out
    lines = answer.out.splitlines()
    assert [line.split()[1] for line in lines][:1] == ["python"]
    assert all(line.split()[0] in ("ok", "look") for line in lines)
    data.mkdir()
    (data / "marble.db").write_bytes(b"no database" * 500)
    answer = marble("doctor")
    assert answer.code == 1
    assert "wrong database" in answer.out
    assert "1 problem keeps Marble from working." in answer.out
