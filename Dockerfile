# The pipeline in a container: the same lock file and the same set-up as on any machine, without compilers,
# tests and development tools, run by a user without rights.
#
#   docker build --tag mastery .
#   docker run --rm --volume mastery-sample:/app/sample mastery simulate --learners 4000 --overwrite
#   docker run --rm --volume mastery-sample:/app/sample --volume mastery-runs:/app/runs mastery run --config configs/sample.yaml

FROM debian:trixie-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app

FROM base AS builder
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml requirements.lock ./
COPY pipeline/__init__.py pipeline/
COPY pipeline/environment pipeline/environment
# Headers for building TensorFlow's custom operations, and symbols for its debugging: a fifth of the image.
RUN UV_NO_CACHE=1 python3 -m pipeline.environment.setup --no-dev \
    && rm -r .venv/lib/python3.*/site-packages/tensorflow/include \
    && strip --strip-unneeded .venv/lib/python3.*/site-packages/tensorflow/libtensorflow_*.so.2

FROM base
COPY --from=builder /app/.venv .venv
RUN useradd --create-home --uid 1000 mastery && install --directory --owner mastery ci runs sample
COPY pyproject.toml requirements.lock ./
COPY components components
COPY configs configs
COPY pipeline pipeline
COPY schemas schemas
COPY serving serving
RUN python3 -m compileall -q components pipeline serving
ENV PATH=/app/.venv/bin:$PATH \
    TF_CPP_MIN_LOG_LEVEL=2
USER mastery
ENTRYPOINT ["mastery"]
CMD ["--help"]
