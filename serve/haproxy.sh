#!/usr/bin/env bash
# HAProxy as Ray Serve starts it, with three things in Ray's configuration mended (until ray > 2.60 lets them be set):
#  - splicing off: with it, HAProxy loses some client disconnects (4 of 30 in one run), and the GPU works on for nobody
#    (python -m benchmarks.disconnects shows it both ways);
#  - the statistics page on loopback, not on every interface;
#  - the cost headers in the spelling that one present client compares exactly.
set -euo pipefail
config=""
for ((i = 1; i < $#; i++)); do
    if [[ "${!i}" == "-f" ]]; then next=$((i + 1)) && config="${!next}"; fi
done
if [[ -n "$config" && "${RYLA_HAPROXY_AS_RAY_MADE_IT:-}" != 1 ]]; then
    sed -i \
        -e '/^ *option splice-\(request\|response\) *$/d' \
        -e '/^listen stats/,$ s/bind \*:/bind 127.0.0.1:/' \
        -e 's/^global$/global\n    h1-case-adjust x-cost-usd X-Cost-USD\n    h1-case-adjust x-execution-time-sec X-Execution-Time-Sec\n    h1-case-adjust x-gpu-type X-GPU-Type\n    h1-case-adjust x-model X-Model/' \
        -e 's/^defaults$/defaults\n    option h1-case-adjust-bogus-client/' \
        "$config"
fi
exec "$RYLA_HAPROXY_BINARY" "$@"
