# shellcheck shell=bash disable=SC2034
# The beginning of every test here, sourced with the directory of the programs as $1: a temporary
# directory $work, a CA that curl and skopeo trust, and the end of all processes whatever happens.
set -Eeuo pipefail

bin=$(cd "$1" && pwd)
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
RUN_DIR=$work/run
mkdir "$RUN_DIR"
patience=300  # more than any machine needs
# shellcheck source=conf/dev/lib.sh
. "$top/conf/dev/lib.sh"

trap 'patience=20; stop_all; rm -rf "$work"' EXIT
trap 'fail "line $LINENO: $BASH_COMMAND" "$RUN_DIR"/*.log' ERR

certificate_authority "$work/tls"
certificate "$work/tls" server
export SSL_CERT_FILE=$work/tls/ca.pem CURL_CA_BUNDLE=$work/tls/ca.pem

host=()

# expect <what> <wanted> <seen>
expect() { [[ $3 == "$2" ]] || fail "$1: expected \"$2\", got \"$3\"" "$RUN_DIR"/*.log; }

digest_of() { echo "sha256:$(sha256sum "$1" | cut -d' ' -f1)"; }

# free_port: one that nobody else gets until the end. It is bound, and who has SO_REUSEADDR, as every server
# does, may listen there all the same.
free_port() {
  local name=port-$BASHPID
  start "$name" python3 -c 'import signal, socket
kept = socket.socket()
kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
kept.bind(("127.0.0.1", 0))
print(kept.getsockname()[1], flush=True)
signal.pause()'
  wait_until "a port" "$name" test -s "$RUN_DIR/$name.access.log"
  cat "$RUN_DIR/$name.access.log"
}

# origin <name> <rootdirectory> [addr] [further YAML]: starts one with TLS, by the command "${host[@]}" if
# there is one.
origin() {
  cat >"$work/$1.yml" <<YAML
version: 0.1
storage:
  filesystem: {rootdirectory: $2}
  delete: {enabled: true}
http:
  addr: ${3:-127.0.0.1:0}
  ${http_secret:+secret: $http_secret}
  tls: {certificate: $work/tls/server.pem, key: $work/tls/server.key
    ${client_cas:+, clientcas: [$client_cas]}}
${4:-}
YAML
  start "$1" "${host[@]}" "$bin/entrepot-origin" serve "$work/$1.yml"
  listening "$1" >/dev/null
}

# distribution <name> <rootdirectory> [addr] [further YAML]: the same with Debian's docker-registry.
distribution() {
  cat >"$work/$1.yml" <<YAML
version: 0.1
storage:
  filesystem: {rootdirectory: $2}
  delete: {enabled: true}
http:
  addr: ${3:-127.0.0.1:0}
  ${http_secret:+secret: $http_secret}
  tls: {certificate: $work/tls/server.pem, key: $work/tls/server.key
    ${client_cas:+, clientcas: [$client_cas]}}
${4:-}
YAML
  start "$1" docker-registry serve "$work/$1.yml"
  listening "$1" >/dev/null
}

# make_image <directory>: an OCI image layout with an image "test" of two random layers.
make_image() {
  local blobs=$1/blobs/sha256 layers=() diff_ids=() i file digest
  mkdir -p "$blobs"
  for i in 1 2; do
    head -c $((i * 1500000)) /dev/urandom >"$1/content"
    tar -C "$1" -cf "$1/layer" content
    diff_ids+=("$(digest_of "$1/layer")")
    gzip -n "$1/layer"
    digest=$(digest_of "$1/layer.gz")
    layers+=("$(jq -nc --arg d "$digest" --argjson s "$(stat -c %s "$1/layer.gz")" \
      '{mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: $d, size: $s}')")
    mv "$1/layer.gz" "$blobs/${digest#sha256:}"
  done
  rm "$1/content"
  printf '%s\n' "${diff_ids[@]}" | jq -nRc '{architecture: "amd64", os: "linux", config: {},
    rootfs: {type: "layers", diff_ids: [inputs]}}' >"$1/config"
  printf '%s\n' "${layers[@]}" | jq -sc --arg d "$(digest_of "$1/config")" \
    --argjson s "$(stat -c %s "$1/config")" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $d, size: $s},
    layers: .}' >"$1/manifest"
  jq -nc --arg d "$(digest_of "$1/manifest")" --argjson s "$(stat -c %s "$1/manifest")" \
    '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: $d, size: $s, annotations: {"org.opencontainers.image.ref.name": "test"}}]}' \
    >"$1/index.json"
  for file in config manifest; do
    digest=$(digest_of "$1/$file")
    mv "$1/$file" "$blobs/${digest#sha256:}"
  done
  echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
}

# pull_matches <image URL> <layout> [option…]: pulls by skopeo and compares every file with the layout's.
pull_matches() {
  rm -rf "$work/pulled"
  skopeo copy --quiet "${@:3}" "$1" "oci:$work/pulled:test"
  diff -r "$2/blobs" "$work/pulled/blobs"
}
