# shellcheck shell=bash
# What conf/dev and tests/interop share: saying what happens, starting and stopping programs, making
# certificates. To be sourced. RUN_DIR must name the directory for logs and pid files.

# For how many seconds it is waited for what may never come.
: "${patience:=30}"

step() { printf '\n==> %s\n' "$*"; }
say() { printf '    %s\n' "$*"; }

# fail <why> [log file…]: says why, shows the end of the logs, ends the script.
fail() {
  printf '\nFAILED: %s\n' "$1" >&2
  shift
  local log
  for log in "$@"; do
    [[ -s $log ]] || continue
    printf -- '--- the end of %s\n' "$log" >&2
    tail -n 20 "$log" >&2
  done
  exit 1
}

# When a process began, in ticks since boot: with its number, this names it for good.
start_time() { sed -n 's/.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# start <name> <command…>: in the background; <name>.access.log takes its output, <name>.log its errors.
start() {
  local name=$1 pid
  shift
  setsid "$@" >"$RUN_DIR/$name.access.log" 2>"$RUN_DIR/$name.log" </dev/null &
  pid=$!
  disown "$pid"  # or bash reports how it ended
  printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$RUN_DIR/$name.pid"
}

# running <name>: prints the pid if the process that start() began still runs.
running() {
  local pid began
  { read -r pid began <"$RUN_DIR/$1.pid"; } 2>/dev/null || return 1
  [[ -n $began && $(start_time "$pid") == "$began" ]] || return 1
  [[ $(sed -n 's/.*) \(.\).*/\1/p' "/proc/$pid/stat" 2>/dev/null) != Z ]] || return 1
  echo "$pid"
}

# stop <name> [signal]: ends what start() began and nothing else; in the end by force.
stop() {
  local name=$1 pid i
  if pid=$(running "$name"); then
    kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
    for ((i = 0; i < 10 * patience; i++)); do
      running "$name" >/dev/null || break
      sleep 0.1
    done
    if running "$name" >/dev/null; then
      say "$name did not end within $patience seconds: killed"
      kill -KILL "$pid" 2>/dev/null || true
    fi
  fi
  rm -f "$RUN_DIR/$name.pid"
}

# stop_all: everything with a pid file in RUN_DIR.
stop_all() {
  local file
  for file in "$RUN_DIR"/*.pid; do
    [[ ! -e $file ]] || stop "$(basename "$file" .pid)"
  done
}

# wait_until <what> <name of the process> <command…>: polls the command, as long as the process runs and
# patience lasts.
wait_until() {
  local what=$1 name=$2 i
  shift 2
  for ((i = 0; i < 10 * patience; i++)); do
    ! "$@" >/dev/null 2>&1 || return 0
    running "$name" >/dev/null ||
      fail "$name ended while waiting for: $what" "$RUN_DIR/$name.log" "$RUN_DIR/$name.access.log"
    sleep 0.1
  done
  fail "$name: not within $patience seconds: $what" "$RUN_DIR/$name.log" "$RUN_DIR/$name.access.log"
}

# listening <name> [count]: waits until a program of ours, or docker-registry, says it listens (count
# listeners), and prints the ports in the order of its configuration.
listening() {
  local name=$1 count=${2:-1}
  # shellcheck disable=SC2016 # expanded by the inner shell
  wait_until "listening" "$name" bash -c '[[ $(grep -c "listening on " "$1") -ge $2 ]]' - \
    "$RUN_DIR/$name.log" "$count"
  sed -n 's/.*listening on [^ ]*:\([0-9]\{1,5\}\).*/\1/p' "$RUN_DIR/$name.log"
}

# certificate_authority <dir>: a throw-away CA, ca.pem and ca.key.
certificate_authority() {
  mkdir -p "$1"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -subj "/CN=Entrepot throw-away CA" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$1/ca.key" -out "$1/ca.pem" 2>/dev/null
}

# certificate <dir> <name>: <name>.pem and <name>.key for localhost, by the CA in that directory;
# <name>.both.pem has both, as HAProxy wants them.
certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -CA "$1/ca.pem" -CAkey "$1/ca.key" -subj "/CN=$2" \
    -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \
    -addext "basicConstraints=critical,CA:FALSE" -addext "keyUsage=critical,digitalSignature" \
    -addext "extendedKeyUsage=serverAuth,clientAuth" \
    -keyout "$1/$2.key" -out "$1/$2.pem" 2>/dev/null
  cat "$1/$2.pem" "$1/$2.key" >"$1/$2.both.pem"
}

# build <preset> [target…]: configures and builds build/<preset>, with ccache where there is one. To be
# called in the project's top directory.
build() {
  local preset=$1
  shift
  if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
  cmake --preset "$preset" --log-level=WARNING >/dev/null
  cmake --build "build/$preset" ${1:+--target "$@"}
}
