"""The version of the package, for peers to compare."""

VERSION = "0.1.0"
