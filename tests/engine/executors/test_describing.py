"""Pictures go to the process that describes them, and words come back, as frames."""

import io
from pathlib import Path

from PIL import Image

from engine.executors import wire
from engine.executors.describing import serve
from tests.describers import make_describer


def test_pictures_are_answered_in_turn_and_a_mistake_costs_one_answer(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(file, "PNG")
    sent = [file.getvalue(), b"no picture", file.getvalue()]
    asked = b"".join(wire.Frame({}, each).to_bytes() for each in sent)
    answers = io.BytesIO()
    serve(str(make_describer(tmp_path / "blip")), io.BytesIO(asked), answers)
    answers.seek(0)
    first, mistake, last = (wire.read(answers).header for _ in sent)
    assert first == last
    assert first["words"]
    assert "cannot identify image" in mistake["error"]
    answers = io.BytesIO()
    serve("/no/such/folder", io.BytesIO(asked), answers)
    answers.seek(0)
    assert "there is no such folder" in wire.read(answers).header["error"]
