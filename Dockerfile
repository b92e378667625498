# The image of a replica: `python -m ferryman.serving` with what it imports, and nothing else.
#
#   docker build --tag ferryman-serving .
#
# BASE: an image with python3 (3.11 or 3.12) and its venv module, on glibc (wheels of manylinux); a
# build that must be the same tomorrow names it by digest (--build-arg BASE=NAME@sha256:...).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS libraries
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /build
# The installer has a place of its own: the venv that is shipped cannot install anything.
RUN ["python3", "-m", "venv", "/build/installer"]
RUN ["python3", "-m", "venv", "--without-pip", "/opt/ferryman"]
COPY requirements-serving.txt ./
RUN ["/build/installer/bin/pip", "--python", "/opt/ferryman/bin/python3", "install", \
     "--require-hashes", "--only-binary", ":all:", "--no-compile", \
     "--requirement", "requirements-serving.txt"]
# Compiled here, because nothing can be written where it runs; by hash and not by time, so that the
# same sources give the same bytes.
RUN ["/opt/ferryman/bin/python3", "-m", "compileall", "-q", "-j", "0", \
     "--invalidation-mode", "unchecked-hash", "/opt/ferryman/lib"]
RUN ["/opt/ferryman/bin/python3", "-c", "import pathlib, sysconfig; \
     pathlib.Path(sysconfig.get_path('purelib'), 'ferryman.pth').write_text('/opt/ferryman/app')"]

FROM libraries AS sources
COPY include/ferryman/__init__.py include/ferryman/errors.py include/ferryman/settings.py \
     include/ferryman/py.typed app/ferryman/
COPY include/ferryman/spec app/ferryman/spec
COPY include/ferryman/runtime app/ferryman/runtime
COPY include/ferryman/serving app/ferryman/serving
RUN ["/opt/ferryman/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", \
     "unchecked-hash", "-s", "/build/app", "-p", "/opt/ferryman/app", "/build/app"]

FROM ${BASE}
COPY --from=libraries /opt/ferryman /opt/ferryman
COPY --from=sources /build/app /opt/ferryman/app
# onnxruntime's wheels tell their maker of models and hosts unless told not to.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 OMP_NUM_THREADS=1 \
    ORT_DISABLE_TELEMETRY=1
# A number: Kubernetes' runAsNonRoot cannot judge a name.
USER 10001:10001
WORKDIR /tmp
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ferryman-serving" \
      org.opencontainers.image.description="Answers predictions of released models" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENTRYPOINT ["/opt/ferryman/bin/python3", "-m", "ferryman.serving"]
CMD ["standalone"]
