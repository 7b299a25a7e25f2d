#!/bin/sh
# Tells Shipwake of a deployment from any job that has curl: SERVICE, VERSION and ENVIRONMENT are as the telemetry names them.
# Run it before the new version takes traffic; the same ID again (a job that is run again) is the same marker.
set -eu
: "${SHIPWAKE_URL:=http://127.0.0.1:4318}" "${SERVICE:?}" "${VERSION:?}" "${ENVIRONMENT:=production}"
: "${ID:=$SERVICE-$VERSION-$ENVIRONMENT-$(date +%s)}" "${BY:=${USER:-}}" "${URL:=}" "${STATUS:=started}"
text() { printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"; }
curl --fail-with-body --silent --show-error --retry 5 --retry-all-errors --max-time 30 \
  --header 'content-type: application/json' "$SHIPWAKE_URL/v1/markers" --data @- <<END
{"id":$(text "$ID"),"kind":"deploy","service":$(text "$SERVICE"),"version":$(text "$VERSION"),"env":$(text "$ENVIRONMENT"),
 "by":$(text "$BY"),"url":$(text "$URL"),"status":$(text "$STATUS")}
END
