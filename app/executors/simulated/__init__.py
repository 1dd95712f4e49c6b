"""The engine that needs no GPU: runs are told, not executed."""
