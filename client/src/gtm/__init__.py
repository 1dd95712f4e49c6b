"""The command line client of GPU Task Manager. It imports nothing of the server."""

VERSION = "0.1.0"
"""The release, the same as the server's; a test compares them."""
