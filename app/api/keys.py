"""Names under which a request carries what we learned about it, in its ASGI scope."""

REQUEST_ID = "gtm.request_id"
CALLER = "gtm.caller"
