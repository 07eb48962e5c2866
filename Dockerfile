# One image with all programs: control plane, operator, certgen, agent and the command line.
#
#   docker build -t clustermesh.io/clustermesh:0.1.0 .
#
# Debian 12 in both stages: the agent compiles its programs with Debian's BCC, under Debian's own Python, and
# everything else runs under the same interpreter.
FROM debian:12-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
# Dependencies first: they change less often than the code. Of the lock only what the programs need.
RUN python3 -m venv /opt/clustermesh \
    && /opt/clustermesh/bin/pip install --no-cache-dir --disable-pip-version-check \
        --constraint requirements.lock "setuptools>=68" \
    && /opt/clustermesh/bin/python -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))' \
        > runtime.txt \
    && /opt/clustermesh/bin/pip install --no-cache-dir --disable-pip-version-check \
        --constraint requirements.lock --requirement runtime.txt
COPY . .
RUN /opt/clustermesh/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
    && /opt/clustermesh/bin/pip uninstall --yes --disable-pip-version-check setuptools pip

FROM debian:12-slim
# python3-bpfcc, libbpfcc and the kernel's user-space headers: for the agent; bpftool and iproute2: for whoever looks.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        python3 python3-bpfcc libbpfcc linux-libc-dev bpftool iproute2 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 65532 nonroot \
    && useradd --system --uid 65532 --gid 65532 --home-dir / --no-create-home --shell /usr/sbin/nologin nonroot
COPY --from=build /opt/clustermesh /opt/clustermesh
ENV PATH=/opt/clustermesh/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The agents' manifest asks for root: they load programs into the kernel. Nothing else does.
USER 65532:65532
CMD ["clustermesh", "--help"]
