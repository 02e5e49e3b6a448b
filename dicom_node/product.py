"""Who we are, in every object, message and log line."""

from importlib.metadata import PackageNotFoundError, version

NAME = "dictamen"
MANUFACTURER = "dictamen project"  # as reports.header writes it: the loop guard compares

try:
    VERSION = version("dictamen")
except PackageNotFoundError:  # run from a checkout that was not installed
    VERSION = "0+unknown"
