"""Fills in the description that PyPI shows: the README with links that work there.

Links in the README are relative, so that they work in a checkout. On PyPI they start from the ``Repository`` of
``[project.urls]`` in pyproject.toml. While there is none, they become plain text that names the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE_LINK: Final = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Adds ``readme`` to the metadata; hatchling calls it whenever it builds."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field in place."""
        text = (Path(self.root) / "README.md").read_text()
        repository = metadata.get("urls", {}).get("Repository", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_absolute_links(text, repository)}


def with_absolute_links(text: str, repository: str) -> str:
    """Return Markdown whose relative links start from the repository's address; if it is empty, they become text."""
    replacement = rf"[\1]({repository.rstrip('/')}/blob/HEAD/\2)" if repository else r"\1 (\2)"
    return _RELATIVE_LINK.sub(replacement, text)
