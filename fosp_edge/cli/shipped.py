"""Where the agent is that comes with the software."""

from pathlib import Path

import fosp_edge
from fosp_edge.bundle.manifest import BundleError

SHIPPED_FOLDER = Path(fosp_edge.__file__).resolve().parent / "shipped"


def shipped_bundle(folder: Path = SHIPPED_FOLDER) -> Path:
    """Folder of the one bundle that is shipped.

    Raises:
        BundleError: there is none, or more than one.
    """
    found = sorted(path.parent for path in folder.glob("*/manifest.json"))
    if len(found) != 1:
        raise BundleError(
            f"expected one shipped bundle in {folder}, found {len(found)}; install the package again, "
            "or name a bundle with --bundle"
        )
    return found[0]
