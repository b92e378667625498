# The image of a replica: `python -m ferryman.serving` with what it imports, and nothing else.
#
#   docker build --tag ferryman-serving .
#
# BASE: an image with python3 (3.11 or 3.12) and its venv module, on glibc (wheels of manylinux); a
# build that must be the same tomorrow names it by digest (--build-arg BASE=NAME@sha256:...).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /build
# The installer has a place of its own: the venv that is shipped cannot install anything.
RUN ["python3", "-m", "venv", "/build/installer"]
RUN ["python3", "-m", "venv", "--without-pip", "/opt/ferryman"]
COPY requirements-serving.txt ./
RUN ["/build/installer/bin/pip", "--python", "/opt/ferryman/bin/python3", "install", \
     "--require-hashes", "--only-binary", ":all:", "--no-compile", \
     "--requirement", "requirements-serving.txt"]
COPY include/ferryman/__init__.py include/ferryman/errors.py include/ferryman/settings.py \
     include/ferryman/py.typed /build/include/ferryman/
COPY include/ferryman/spec /build/include/ferryman/spec
COPY include/ferryman/runtime /build/include/ferryman/runtime
COPY include/ferryman/serving /build/include/ferryman/serving
COPY deploy/install_sources.py ./
# Compiled here, because nothing can be written where it runs.
RUN ["/opt/ferryman/bin/python3", "install_sources.py", "/build/include/ferryman"]

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ferryman-serving" \
      org.opencontainers.image.description="Answers predictions of released models" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/ferryman /opt/ferryman
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 OMP_NUM_THREADS=1
# A number: Kubernetes' runAsNonRoot cannot judge a name.
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["/opt/ferryman/bin/python3", "-m", "ferryman.serving"]
CMD ["standalone"]
