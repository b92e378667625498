"""Puts a package's sources into the Python that runs this, and compiles all that is installed.

Compiled files are checked by nobody at run time (unchecked hashes, no times in them): the same
sources give the same bytes, and a read-only file system is never asked to hold others.
"""

import compileall
import shutil
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode


def main(sources: Path) -> int:
    """Install the package of a folder; 1 when a file does not compile."""
    libraries = Path(sysconfig.get_path("purelib"))
    shutil.copytree(sources, libraries / sources.name)
    compiled = compileall.compile_dir(
        libraries,
        quiet=1,
        workers=0,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    return 0 if compiled else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
