"""Versions that the client states about itself."""

from __future__ import annotations

from typing import Final

#: Version of this distribution.
__version__: Final = "0.1.0"
#: The newest protocol version that the client speaks.
PROTOCOL_VERSION: Final = 1
CLIENT_SOFTWARE: Final = f"logd-client/{__version__}"
