"""A torch that cannot be imported, or whose import never ends, for processes that are started."""

from pathlib import Path
from typing import Final

import pytest

HANGS: Final = "import time\nwhile True: time.sleep(3600)"
FAILS: Final = "print('loading')\nraise ImportError('libcudart.so.12: cannot open it')"


def put_torch(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started from now on import this code as torch."""
    (folder / "torch.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
