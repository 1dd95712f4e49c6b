"""How long a test of the command line waits for what hangs. Nothing that works comes near it."""

DEADLINE_SECONDS = 300.0
