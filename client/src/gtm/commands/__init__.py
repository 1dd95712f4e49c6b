"""One module per subject; `gtm.main` says which command is in which, and loads only the one that is called."""
