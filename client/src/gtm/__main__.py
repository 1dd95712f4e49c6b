"""`python -m gtm` is `gtm`."""

from gtm.main import main

main()
