#!/bin/bash
# make demo-kafka: the shop of `make demo` in front of several processes on this machine: one Kafka broker, one S3 server
# (versitygw), two Shipwakes that take telemetry, two that fold it, one that answers. Ctrl-C ends all of them by their process
# ids and removes their data. Whatever is killed by hand is started again; what is sent meanwhile waits or goes another way.
#
#   deploy/demo-kafka/run.sh [options of `shipwake demo`, for example --scenario blue-green]
#
#   SHIPWAKE_DEMO_PORTS   first of twenty ports on loopback, 4400 unless it is set; the pages are on this one
#   SHIPWAKE_DEMO_FOLDER  keeps data and logs in this folder instead of a temporary one

set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
program=$root/target/release/shipwake
port=${SHIPWAKE_DEMO_PORTS:-4400}
broker=127.0.0.1:$((port + 3))
controller=127.0.0.1:$((port + 4))
s3=127.0.0.1:$((port + 5))

say() { printf '  %s\n' "$*"; }
die() { printf 'demo-kafka: %s\n' "$*" >&2; exit 1; }

# --- What has to be there -----------------------------------------------------------------------------------------------

[ -x "$program" ] || die "$program is missing: make demo-kafka builds it"
for command in java mvn setpriv; do
  command -v $command >/dev/null || die "$command is missing: apt-get install openjdk-17-jdk-headless maven util-linux"
done
for taken in $(seq "$port" $((port + 19))); do
  ! (exec 3<>"/dev/tcp/127.0.0.1/$taken") 2>/dev/null || die "port $taken is in use; SHIPWAKE_DEMO_PORTS=<first of twenty free ports>"
done

# The jars that the tests use, if they are there; else the same, from the same pom.
kafka=$root/target/kafka
if ! cmp -s "$kafka/installed-for" "$root/tests/kafka/pom.xml"; then
  kafka=$root/target/demo-kafka
  if ! cmp -s "$kafka/installed-for" "$root/tests/kafka/pom.xml"; then
    say "Apache Kafka comes with Maven: 54 MB, once"
    mkdir -p "$kafka" && rm -rf "$kafka/lib"
    mvn --quiet --batch-mode --file "$root/tests/kafka/pom.xml" "-Dout=$kafka" validate || die "Maven could not bring Kafka"
    cp "$root/tests/kafka/pom.xml" "$kafka/installed-for"
  fi
fi

# The same version that the tests of the store name.
gateway=$root/target/s3/versitygw
if [ ! -x "$gateway" ]; then
  command -v go >/dev/null || die "Go is missing: see https://go.dev/dl"
  version=$(sed -n 's/^const VERSION: &str = "\(.*\)";/\1/p' "$root/lib/store/tests/common/bucket.rs")
  say "the S3 server (versitygw $version) is built with Go: some minutes, once"
  mkdir -p "$root/target/s3"
  GOBIN=$root/target/s3 go install "github.com/versity/versitygw/cmd/versitygw@$version" || die "versitygw cannot be built"
fi

# --- Folders and settings -----------------------------------------------------------------------------------------------

kept=${SHIPWAKE_DEMO_FOLDER:-}
folder=${kept:-$(mktemp -d "${TMPDIR:-/tmp}/shipwake-demo-kafka-XXXXXX")} || die "no temporary folder"
mkdir -p "$folder/logs" "$folder/buckets/shipwake" "$folder/kafka" || die "$folder cannot be written"

# One broker for everything; the rest is what tests/kafka/broker.rs says, with the reasons.
cat >"$folder/broker.properties" <<EOF
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://$broker,CONTROLLER://$controller
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=$controller
log.dirs=$folder/kafka
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
EOF

in_java=(java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -XX:TieredStopAtLevel=1
  "-XX:SharedArchiveFile=$kafka/classes.jsa" -cp "$kafka/lib/*")
export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo-secret AWS_REGION=us-east-1
export ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY
# Nothing of what somebody has exported for another Shipwake.
for variable in "${!SHIPWAKE_@}"; do unset "$variable"; done

if [ ! -e "$folder/kafka/meta.properties" ]; then
  "${in_java[@]}" -Xmx256m kafka.tools.StorageTool format -t c2hpcHdha2UtZGVtby0xMQ -c "$folder/broker.properties" \
    --standalone --ignore-formatted >"$folder/logs/kafka-format.log" 2>&1 || die "Kafka's folder cannot be made: $folder/logs/kafka-format.log"
fi

# --- Who runs -----------------------------------------------------------------------------------------------------------

url() { echo "http://127.0.0.1:$((port + $1))"; }
# Sets `command` to what NAME is. A Shipwake has three ports: pages, OTLP/gRPC, OTLP/HTTP; both of the latter take both.
command_of() { # name
  local at="127.0.0.1" shared=(--data "$folder/$1" --log warn --kpis "$root/src/demo/kpis.yaml"
    --journal "kafka://$broker/shipwake-journal?create=true" --partitions 4 --store "s3://shipwake/demo?endpoint=http://$s3")
  serve() { # roles, first port, more options
    command=("$program" serve --roles "$1" --ui-addr "$at:$((port + $2))" --otlp-grpc-addr "$at:$((port + $2 + 1))"
      --otlp-http-addr "$at:$((port + $2 + 2))" --advertise "$(url "$2")" "${@:3}" "${shared[@]}")
  }
  case $1 in
    kafka) command=("${in_java[@]}" -Xms128m -Xmx384m -XX:+UseSerialGC kafka.Kafka "$folder/broker.properties") ;;
    s3) command=("$gateway" --port "$s3" --quiet posix "$folder/buckets") ;;
    ingest-1) serve ingest 6 ;;
    ingest-2) serve ingest 9 ;;
    aggregate-1) serve aggregate 12 ;;
    aggregate-2) serve aggregate 15 ;;
    query) serve query,alerts 0 --peers "$(url 6),$(url 9)" ;;
    shop) command=("$program" demo "${shop[@]}" --send-to "$(url 8),$(url 11)") ;;
  esac
}
shop=("$@")
servers=(kafka s3 ingest-1 ingest-2 aggregate-1 aggregate-2 query)

# --- Starting, watching, ending -------------------------------------------------------------------------------------------

declare -A pid_of name_of
command=()

# Each is in a session of its own, so that Ctrl-C ends only this script, which then ends them in order; when the script
# itself is killed, the kernel ends them.
begin() { # name
  command_of "$1"
  if [ "$1" = shop ]; then
    setsid setpriv --pdeathsig TERM "${command[@]}" </dev/null &
  else
    setsid setpriv --pdeathsig TERM "${command[@]}" </dev/null >>"$folder/logs/$1.log" 2>&1 &
  fi
  pid_of[$1]=$! name_of[$!]=$1
}

finish() { # names: asks them to end, and waits
  local name pid
  for name; do
    # No process, no signal: 0 would be this script and everything in its group.
    [ -z "${pid_of[$name]:-}" ] || kill -TERM "${pid_of[$name]}" 2>/dev/null
  done
  for name; do
    pid=${pid_of[$name]:-}
    [ -n "$pid" ] || continue
    for _ in $(seq 150); do kill -0 "$pid" 2>/dev/null || continue 2; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null
  done
}

end() {
  trap '' INT TERM
  printf '\n'
  say "Ending all of them."
  finish shop
  finish ingest-1 ingest-2 query
  finish aggregate-1 aggregate-2
  finish kafka s3
  [ -n "$kept" ] || rm -rf "$folder"
  say "Stopped."
  exit "${1:-0}"
}
trap end INT TERM

listens() { (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }
await() { # what, seconds, a command that succeeds when it is there
  local what=$1 until=$((SECONDS + $2)); shift 2
  until "$@"; do
    [ $SECONDS -lt $until ] || { say "$what is not there; what they say is in $folder/logs"; kept=yes; end 1; }
    sleep 0.2
  done
}
is_ready() ( # the port of its pages
  exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
  printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
  read -r -t 5 answer <&3
  [[ $answer == *" 200 "* ]]
) 2>/dev/null

for name in kafka s3; do begin $name; done
await "the broker" 60 listens "$broker"
await "the S3 server" 20 listens "$s3"
for name in "${servers[@]:2}"; do begin "$name"; done
await "the query process" 90 is_ready "$port"

cat <<EOF

  Shipwake   http://127.0.0.1:$port        Kafka at $broker, a bucket at $s3, and of Shipwake:

$(for name in "${servers[@]}"; do printf '    %-12s pid %s\n' "$name" "${pid_of[$name]}"; done)

  Kill any of them (kill -9 PID): it is started again, and nothing is lost or counted twice. The shop gives
  a batch up after 13 s without an answer, as SDKs do: only both ingest processes or the broker can bring it to that. Logs: $folder/logs
EOF
begin shop

while :; do
  { wait -n -p gone; code=$?; } 2>/dev/null # bash would tell of it in its own words too
  name=${name_of[${gone:-0}]:-}
  [ -n "$name" ] || continue
  if [ "$name" = shop ]; then unset "pid_of[shop]"; end "$code"; fi
  begin "$name"
  say "$name (pid $gone) has ended ($code); started again as pid ${pid_of[$name]}"
  sleep 1
done
