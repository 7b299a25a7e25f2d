#!/bin/sh
# Waits for the verdict on a release with nothing but curl: exit code 0 go, 1 no-go, 2 not decided in time, 3 an error. `shipwake gate` does
# the same and tells more.
#
#   gate.sh SERVICE CANDIDATE [ENV]
#
# Each request is held back until there is a decision, for up to nine seconds.
# SHIPWAKE_URL: where its pages are. SHIPWAKE_GATE_SECONDS: how long to wait (1800).
set -u
service=${1:?which service?}
candidate=${2:?which version?}
env=${3:-production}
url=${SHIPWAKE_URL:-http://127.0.0.1:4400}
until=$(($(date +%s) + ${SHIPWAKE_GATE_SECONDS:-1800}))

said=
while :; do
  left=$((until - $(date +%s)))
  [ "$left" -gt 9 ] && left=9
  [ "$left" -lt 0 ] && left=0
  # The sentence, and the status in the last line.
  answer=$(curl --silent --show-error --max-time 20 --get --write-out '%{http_code}' "$url/v1/gate" \
    --data-urlencode "service=$service" --data-urlencode "candidate=$candidate" --data-urlencode "env=$env" \
    --data-urlencode "wait=$left" 2>&1)
  status=$(printf '%s' "$answer" | tail -n 1)
  sentence=$(printf '%s' "$answer" | sed '$d')
  if [ "$sentence" != "$said" ]; then
    printf '%s\n' "$sentence"
    said=$sentence
  fi
  case $status in
    200) exit 0 ;;
    412) exit 1 ;;
    400 | 404) exit 3 ;;
  esac
  if [ "$(date +%s)" -ge "$until" ]; then
    # 425 is "not decided"; anything else is no answer.
    [ "$status" = 425 ] && exit 2
    exit 3
  fi
  sleep 1
done
