# shellcheck shell=bash disable=SC2034
# The beginning of every test here that runs Docker and containerd, sourced as the first thing with
# the directory of the programs as $1: common.sh, the clients' command lines, images of several
# platforms.
#
# The script is run again in a network of its own, in which localhost is $address and not in
# 127.0.0.0/8: there, Docker verifies no certificate and shows none. What it mounts is seen by nobody
# else either.
[[ -n ${OWN_NAMESPACES:-} ]] || OWN_NAMESPACES=1 exec unshare --net --mount "$0" "$@"
# shellcheck source=tests/interop/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

address=192.0.2.1
ip link set lo up
ip address add "$address/32" dev lo
echo "$address localhost" >"$work/etc-hosts"
mkdir "$work/etc-docker"
mount --bind "$work/etc-hosts" /etc/hosts
mount --bind "$work/etc-docker" /etc/docker

# Where logins are kept. Not in REGISTRY_AUTH_FILE, which docker-registry takes for a key of its own.
export XDG_RUNTIME_DIR=$work/logins

podman=(podman --root "$work/podman/root" --runroot "$work/podman/run" --tmpdir "$work/podman/tmp"
  --storage-driver vfs --cgroup-manager cgroupfs --events-backend none)
buildah=(buildah --root "$work/buildah/root" --runroot "$work/buildah/run" --storage-driver vfs)
docker=(docker --config "$work/logins/docker" --host "unix://$work/docker.sock")
ctr=(ctr --address "$work/containerd.sock" --namespace test)

# What a daemon mounts goes with it, however it ends. Docker has $registry_mirror, if it is set.
start_daemons() {
  cat >"$work/containerd.toml" <<TOML
version = 2
root = "$work/containerd/root"
state = "$work/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/containerd.sock"
TOML
  start containerd unshare --mount containerd --config "$work/containerd.toml"
  wait_until "answers" containerd "${ctr[@]}" version
  start dockerd unshare --mount dockerd --host "unix://$work/docker.sock" \
    --data-root "$work/docker/root" --exec-root "$work/docker/exec" --pidfile "$work/docker.pid" \
    --containerd "$work/containerd.sock" --storage-driver vfs --iptables=false --ip-forward=false \
    --bridge=none ${registry_mirror:+--registry-mirror "$registry_mirror"}
  wait_until "answers" dockerd "${docker[@]}" version
}

# make_index <layout> <layout…>: an index of the images of the others, one for each platform.
make_index() {
  local layout=$1 architectures=(amd64 arm64) source
  shift
  mkdir -p "$layout/blobs/sha256"
  for source in "$@"; do
    cp "$source"/blobs/sha256/* "$layout/blobs/sha256"
    jq -c --arg arch "${architectures[0]}" '.manifests[0] | del(.annotations) |
      .platform = {os: "linux", architecture: $arch}' "$source/index.json"
    architectures=("${architectures[@]:1}")
  done | jq -sc '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: .}' >"$layout/index"
  jq -nc --arg d "$(digest_of "$layout/index")" --argjson s "$(stat -c %s "$layout/index")" \
    '{schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.index.v1+json",
    digest: $d, size: $s, annotations: {"org.opencontainers.image.ref.name": "test"}}]}' \
    >"$layout/index.json"
  mv "$layout/index" "$layout/blobs/sha256/$(sha256sum "$layout/index" | cut -d' ' -f1)"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
}
