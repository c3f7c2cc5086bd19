# The pipeline in a container, with the lock file and set-up of every machine, but without
# compilers, tests and development tools, and run by a user without special rights.
#
#   docker build --tag mastery .
#   docker run --rm --volume mastery-sample:/app/sample mastery simulate --learners 4000 --overwrite
#   docker run --rm --volume mastery-sample:/app/sample --volume mastery-runs:/app/runs mastery run --config configs/sample.yaml
#
# With GPU=1 the image also has CUDA's libraries, as one more layer:
#
#   docker build --tag mastery-gpu --build-arg GPU=1 .
#   docker run --rm --gpus all mastery-gpu doctor
#
# The target `notebook` also has JupyterLab and the notebooks of docs/notebooks (docs/notebooks.md):
#
#   docker build --tag mastery-notebook --target notebook --build-arg NOTEBOOK=1 .

FROM debian:trixie-slim AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app

FROM base AS builder
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml requirements*.lock ./
COPY pipeline/__init__.py pipeline/
COPY pipeline/environment pipeline/environment
# TensorFlow's headers and debugging symbols are a fifth of the image, and nothing here needs them.
RUN UV_NO_CACHE=1 python3 -m pipeline.environment.setup --no-dev \
    && rm -r .venv/lib/python3.*/site-packages/tensorflow/include \
    && strip --strip-unneeded .venv/lib/python3.*/site-packages/tensorflow/libtensorflow_*.so.2

ARG NOTEBOOK=0
RUN if [ "$NOTEBOOK" = 1 ]; then UV_NO_CACHE=1 python3 -m pipeline.environment.notebook; fi

FROM builder AS cuda
# Headers and static libraries, which only compilers need, and libraries that nothing here opens are a
# tenth of CUDA and are removed. The rest is moved, because a copy would be stored twice.
ARG GPU=0
RUN mkdir /cuda \
    && if [ "$GPU" = 1 ]; then \
    UV_NO_CACHE=1 python3 -m pipeline.environment.setup --no-dev --gpu \
    && cd .venv/lib/python3.*/site-packages \
    && rm -r nvidia/*/include nvidia/*/lib/*.a nvidia/curand nvidia/*/lib/libcusolverMg.* nvidia/*/lib/libnvrtc*.alt.* \
    && mkdir -p "/cuda/$PWD" \
    && mv nvidia nvidia_*.dist-info "/cuda/$PWD"; \
    fi

FROM base AS mastery
COPY --from=builder /app/.venv .venv
RUN useradd --create-home --uid 1000 --user-group mastery && install --directory --owner mastery ci runs sample
COPY pyproject.toml requirements*.lock ./
COPY components components
COPY configs configs
COPY pipeline pipeline
COPY schemas schemas
COPY serving serving
RUN python3 -m compileall -q components pipeline serving
ENV PATH=/app/.venv/bin:$PATH \
    TF_CPP_MIN_LOG_LEVEL=2
# By number, because Kubernetes cannot check that a name is not root.
USER 1000:1000
ENTRYPOINT ["mastery"]
CMD ["--help"]

FROM mastery AS notebook
RUN jupyter lab --version || { echo "build this target with --build-arg NOTEBOOK=1"; exit 1; }
COPY --chown=1000:1000 docs/notebooks docs/notebooks
EXPOSE 8888
# Without a token of one's own (JUPYTER_TOKEN) it makes one, and prints the address with it.
ENTRYPOINT ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--ServerApp.root_dir=/app"]
CMD ["--LabApp.default_url=/lab/tree/docs/notebooks/explore-a-log.ipynb"]

FROM mastery
COPY --from=cuda /cuda /
# The parts of the driver that NVIDIA's container runtime adds; `docker run --gpus` chooses the GPUs.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
