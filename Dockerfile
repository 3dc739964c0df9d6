# syntax=docker/dockerfile:1
# One file, one target a process: serve, trainer, worker (worker and beat), operate (the command line).
#
#   docker build --target serve -t whetstone-serve .
#   docker build --target trainer --build-arg DEVICE=cuda -t whetstone-trainer .
#
# Build arguments PIP_INDEX_URL and TORCH_INDEX say where packages, and CPU builds of torch, come from when not from pip's
# default. An unset PIP_INDEX_URL leaves pip's default in force.
#
# serve and trainer carry torch and vLLM; worker and operate do not and are a tenth of the size.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    HF_HUB_OFFLINE=1 \
    TOKENIZERS_PARALLELISM=false \
    VLLM_NO_USAGE_STATS=1 \
    HOME=/var/lib/whetstone \
    WHETSTONE_ARTIFACT_ROOT=/var/lib/whetstone/artifacts \
    WHETSTONE_SPOOL_ROOT=/var/lib/whetstone/spool \
    WHETSTONE_WORK_ROOT=/var/lib/whetstone/training
RUN groupadd --gid 10001 whetstone \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/whetstone --no-create-home --shell /usr/sbin/nologin whetstone \
    && install -d -o whetstone -g whetstone /var/lib/whetstone /var/lib/whetstone/artifacts \
        /var/lib/whetstone/spool /var/lib/whetstone/training
WORKDIR /app

# What every process needs: the project's own dependencies at the versions of the lock, without torch and vLLM.
FROM base AS light
ARG PIP_INDEX_URL
COPY pyproject.toml ./
COPY requirements ./requirements
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], 'setuptools', sep='\n')" > /tmp/direct.txt \
    && pip install --constraint requirements/cpu.txt --requirement /tmp/direct.txt \
    && rm /tmp/direct.txt

# What the model's processes need on top. DEVICE=cpu installs the lock as it is; DEVICE=cuda installs the extra of that
# name, whose wheels follow the driver of the machine and are resolved when the image is built.
FROM base AS heavy
ARG PIP_INDEX_URL
ARG TORCH_INDEX
ARG DEVICE=cpu
# libnuma: vLLM's CPU kernels link to it. gcc: torch and triton compile kernels at run time.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libnuma1 \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml ./
COPY requirements ./requirements
RUN if [ "${DEVICE}" = cpu ]; then \
        pip install --no-deps ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} --requirement requirements/cpu.txt; \
    else \
        python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['${DEVICE}'], 'setuptools', sep='\n')" > /tmp/direct.txt \
        && pip install --requirement /tmp/direct.txt \
        && rm /tmp/direct.txt; \
    fi

FROM light AS operate
COPY . .
RUN pip install --no-deps --no-build-isolation --editable .
USER whetstone
ENTRYPOINT ["whetstone"]
CMD ["--help"]

FROM light AS worker
COPY . .
RUN pip install --no-deps --no-build-isolation --editable .
USER whetstone
ENV WHETSTONE_WORKERS_METRICS_PORT=9101
EXPOSE 9101
CMD ["python", "-m", "workers", "worker"]

FROM heavy AS trainer
COPY . .
RUN pip install --no-deps --no-build-isolation --editable .
USER whetstone
ENV WHETSTONE_TRAINER_METRICS_PORT=9102
EXPOSE 9102
CMD ["python", "-m", "trainer", "serve"]

FROM heavy AS serve
COPY . .
RUN pip install --no-deps --no-build-isolation --editable .
USER whetstone
ENV WHETSTONE_HOST=0.0.0.0 \
    WHETSTONE_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=8s --start-period=300s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=7)"]
CMD ["python", "-m", "serve"]
