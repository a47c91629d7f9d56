# `calm serve` in a container. On a CPU:
#   docker build -t audiocalm .
# With CUDA (the build of torch that pip finds by itself on Linux has it; another one by its own index):
#   docker build -t audiocalm:cuda --build-arg TORCH_INDEX= .
# docs/DEPLOY.md says how to run it; compose.yaml does.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
# Index of torch and of what torch needs; empty for pip's own.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/calm
COPY requirements-inference.txt constraints.txt ./
# Torch first, alone: it is most of the image, changes least, and may have an index of its own.
RUN /opt/calm/bin/pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
# hadolint ignore=DL3059
RUN /opt/calm/bin/pip install -c constraints.txt -r requirements-inference.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY conf conf
COPY calm calm
RUN /opt/calm/bin/pip install --no-deps .

FROM python:${PYTHON_VERSION}-slim-bookworm
COPY --from=build /opt/calm /opt/calm
# Keys that sign, and registered voices. An anonymous volume where none is mounted, so that the root may be read-only.
ENV PATH=/opt/calm/bin:$PATH \
    AUDIOCALM_HOME=/var/lib/audiocalm \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    # Waiting threads sleep: beside other work, threads that spin cost more than they save.
    OMP_WAIT_POLICY=passive
RUN groupadd --gid 10001 calm \
    && useradd --uid 10001 --gid calm --home-dir /var/lib/audiocalm --no-create-home --shell /usr/sbin/nologin calm \
    && install --directory --owner calm --group calm --mode 700 /var/lib/audiocalm
USER 10001:10001
WORKDIR /var/lib/audiocalm
VOLUME /var/lib/audiocalm
EXPOSE 8000
# The server drains for 20 s: give it longer (docker run --stop-timeout 30; compose.yaml does).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["calm"]
# A page of any other site could give its own name to a server of this machine.
ENV AUDIOCALM_ALLOWED_HOSTS="localhost 127.0.0.1"
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
