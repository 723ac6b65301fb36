"""stub"""

from __future__ import annotations

from logd.cli.options import group

app = group("log", name="bench")


@app.callback()
def _r() -> None: ...
