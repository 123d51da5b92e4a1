"""Prunes a registry as Fedora does: every tagged image whose config was created 30 days ago or earlier is
deleted by digest. Indexes have no config and are left alone.

  prune_old_images.py <registry URL>
"""
import datetime
import json
import sys
import urllib.error
import urllib.request

ACCEPT = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
]


def call(path, method="GET"):
    request = urllib.request.Request(sys.argv[1] + path, method=method)
    if "/manifests/" in path and method == "GET":
        request.add_header("Accept", ", ".join(ACCEPT))
    return urllib.request.urlopen(request)


def get(path):
    """The JSON of the answer, also of an error: a tag that is gone is a manifest without config."""
    try:
        with call(path) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def main():
    today = datetime.datetime.now(datetime.timezone.utc).date()
    oldest = (today - datetime.timedelta(days=30)).isoformat()
    for name in get("/v2/_catalog?n=500")["repositories"]:
        for tag in get(f"/v2/{name}/tags/list")["tags"] or []:
            manifest = get(f"/v2/{name}/manifests/{tag}")
            if "config" not in manifest:
                continue
            config = get(f"/v2/{name}/blobs/{manifest['config']['digest']}")
            if config["created"][:10] > oldest:
                continue
            with call(f"/v2/{name}/manifests/{tag}") as answer:
                digest = answer.headers["Docker-Content-Digest"]
            with call(f"/v2/{name}/manifests/{digest}", "DELETE") as answer:
                print(name, tag, answer.status)


main()
