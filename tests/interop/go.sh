# shellcheck shell=bash
# Test suites that are Go programs and come by Go's module proxy. To be sourced after common.sh.

# find_go <version>: prints a go that is not older.
find_go() {
  local candidate version_of
  for candidate in "$(type -P go || true)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
    [[ -x $candidate ]] || continue
    version_of=$("$candidate" env GOVERSION)
    if printf '%s\n' "$1" "${version_of#go}" | sort -CV; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

# need_go <version>: from now on go() is one that is not older. Debian's backports have one.
need_go() {
  local package
  if ! find_go "$1" >/dev/null; then
    for package in golang-1.26-go golang-1.25-go golang-1.24-go; do
      ! apt-get install -y -qq --no-install-recommends "$package" >"$RUN_DIR/apt.log" 2>&1 || break
    done
  fi
  go_program=$(find_go "$1") || fail "this test needs Go $1 or later, and there is none on PATH, in \
/usr/local/go or among the packages (bookworm-backports may have one)" "$RUN_DIR/apt.log"
}

# The module proxy's certificate is not by our throw-away CA.
go() { env -u SSL_CERT_FILE GOTOOLCHAIN=local "$go_program" "$@"; }
