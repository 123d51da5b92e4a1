"""Random operations on a directory that two programs serve at the same time, checked against a model.

usage: random_operations.py <our host:port> <docker-registry's host:port> <seed>

Several clients work at once. Each has repositories of its own, so it knows what they must hold after
every acknowledgement; all draw their layers from the same few, so they store the same blobs at the same
time. The seed decides what each client does, not how the clients' requests interleave.
"""

import hashlib
import http.client
import json
import os
import random
import ssl
import sys
import threading
import urllib.parse

CLIENTS = 4
REPOSITORIES = 3  # of each client
OPERATIONS = 100  # of each client
LAYERS = 24
TAGS = ["latest", "rawhide", "42"]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
OCTETS = "application/octet-stream"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type, data):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


class Program:
    """A client's connection to one program. A status that is not wanted is the end of the test."""

    def __init__(self, name, address):
        self.name = name
        trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
        self.connection = http.client.HTTPSConnection(address, timeout=60, context=trust)

    def request(self, wanted, method, target, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, target, body, headers)
        response = self.connection.getresponse()
        data = response.read()
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        if response.status not in wanted:
            raise AssertionError(f"{self.name}: {method} {target}: {response.status} {data[:300]}")
        return response, data

    def get(self, target):
        """The bytes of a manifest or blob; where the target ends in a digest, they have it."""
        response, data = self.request(200, "GET", target, Accept=MANIFEST)
        named = response.headers["Docker-Content-Digest"]
        reference = target.rsplit("/", 1)[1]
        if ":" in reference and reference != named:
            raise AssertionError(f"{self.name}: GET {target}: {named}")
        if digest_of(data) != named:
            raise AssertionError(f"{self.name}: GET {target}: the bytes are not {named}")
        return data


class Repository:
    """What a repository must hold: every acknowledged operation has been done here, and no other."""

    def __init__(self, name):
        self.name = name
        self.blobs = set()
        self.manifests = {}  # by digest, also those that were deleted
        self.deleted = set()
        self.tags = {}

    def live(self):
        return sorted(self.manifests.keys() - self.deleted)


class Client:
    def __init__(self, number, seed, addresses, layers):
        self.random = random.Random(f"{seed} {number}")
        self.ours, self.theirs = (Program(name, addresses[name]) for name in addresses)
        self.layers = layers
        self.repositories = [Repository(f"client{number}/{i}") for i in range(REPOSITORIES)]
        self.done = {}
        self.failure = None

    def either(self):
        return self.random.choice((self.ours, self.theirs))

    # Operations. Each works on one repository and returns whether there was anything to do.

    def push(self, repository):
        layers = self.random.sample(self.layers, self.random.randint(1, 3))
        config = json.dumps({"architecture": "amd64", "os": "linux",
                             "created": repository.name + str(self.random.random())}).encode()
        for blob in [config, *layers]:
            self.push_blob(repository, blob)
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                               "config": descriptor(CONFIG, config),
                               "layers": [descriptor(LAYER, layer) for layer in layers]}).encode()
        reference = self.random.choice([*TAGS, digest_of(manifest)])
        return self.put_manifest(repository, manifest, reference)

    def move_tag(self, repository):
        """Also to a manifest that was deleted, which is pushed again by that."""
        if not repository.manifests:
            return False
        manifest = repository.manifests[self.random.choice(sorted(repository.manifests))]
        return self.put_manifest(repository, manifest, self.random.choice(TAGS))

    def delete_manifest(self, repository):
        if not repository.live():
            return False
        digest = self.random.choice(repository.live())
        self.either().request(202, "DELETE", f"/v2/{repository.name}/manifests/{digest}")
        repository.deleted.add(digest)
        repository.tags = {tag: to for tag, to in repository.tags.items() if to != digest}
        return True

    def delete_tag(self, repository):
        """By ours: docker-registry cannot."""
        if not repository.tags:
            return False
        tag = self.random.choice(sorted(repository.tags))
        self.ours.request(202, "DELETE", f"/v2/{repository.name}/manifests/{tag}")
        del repository.tags[tag]
        return True

    def pull(self, repository):
        if not repository.live():
            return False
        self.pull_whole(self.either(), repository, self.random.choice(repository.live()))
        self.check_tags(self.either(), repository)
        return True

    # How a blob comes into a repository.

    def push_blob(self, repository, blob):
        digest = digest_of(blob)
        if digest in repository.blobs:
            return
        sources = [other for other in self.repositories if digest in other.blobs]
        if sources and self.random.random() < 0.5:
            self.mount(repository, digest, self.random.choice(sources))
        elif self.random.random() < 0.3:
            self.upload(repository, blob, [self.either()])
        else:
            self.upload(repository, blob, self.random.sample((self.ours, self.theirs), 2))
        repository.blobs.add(digest)

    def mount(self, repository, digest, source):
        self.count("mount")
        query = urllib.parse.urlencode({"mount": digest, "from": source.name})
        self.either().request(201, "POST", f"/v2/{repository.name}/blobs/uploads/?{query}")

    def upload(self, repository, blob, programs):
        """Every request goes to the next of the programs, which begin again after the last."""
        self.count("upload by one" if len(programs) == 1 else "upload by both")
        turns = 0

        def request(wanted, method, target, body=None, **headers):
            nonlocal turns
            program = programs[turns % len(programs)]
            turns += 1
            response, _ = program.request(wanted, method, target, body, **headers)
            return response.headers

        def location(headers):
            return urllib.parse.urlsplit(headers["Location"])._replace(scheme="", netloc="").geturl()

        at = location(request(202, "POST", f"/v2/{repository.name}/blobs/uploads/"))
        cuts = sorted(self.random.randint(1, len(blob)) for _ in range(self.random.randint(0, 3)))
        sent = 0
        for end in cuts:
            if end == sent:
                continue
            at = location(request(202, "PATCH", at, blob[sent:end], Content_Type=OCTETS,
                                  Content_Range=f"{sent}-{end - 1}"))
            sent = end
            if self.random.random() < 0.3:
                headers = request(204, "GET", at)
                if headers["Range"] != f"0-{sent - 1}":
                    raise AssertionError(f"{at} has {headers['Range']}, not {sent} bytes")
                at = location(headers)
        digest = urllib.parse.quote(digest_of(blob))
        request(201, "PUT", f"{at}&digest={digest}", blob[sent:], Content_Type=OCTETS)

    def put_manifest(self, repository, manifest, reference):
        self.either().request(201, "PUT", f"/v2/{repository.name}/manifests/{reference}", manifest,
                              Content_Type=MANIFEST)
        digest = digest_of(manifest)
        repository.manifests[digest] = manifest
        repository.deleted.discard(digest)
        if reference != digest:
            repository.tags[reference] = digest
        return True

    # What must hold.

    def pull_whole(self, program, repository, digest):
        base = f"/v2/{repository.name}"
        manifest = json.loads(program.get(f"{base}/manifests/{digest}"))
        for blob in [manifest["config"], *manifest["layers"]]:
            program.get(f"{base}/blobs/{blob['digest']}")

    def check_tags(self, program, repository):
        base = f"/v2/{repository.name}"
        # A repository that never had a tag is 404 in docker-registry.
        wanted = 200 if repository.tags else (200, 404)
        response, data = program.request(wanted, "GET", f"{base}/tags/list")
        tags = json.loads(data)["tags"] or [] if response.status == 200 else []
        if set(tags) != set(repository.tags):
            raise AssertionError(f"{program.name}: {repository.name} has {tags}, not {repository.tags}")
        for tag, digest in repository.tags.items():
            if digest_of(program.get(f"{base}/manifests/{tag}")) != digest:
                raise AssertionError(f"{program.name}: {repository.name}:{tag} is not {digest}")

    def check_all(self):
        for program in (self.ours, self.theirs):
            for repository in self.repositories:
                for digest in repository.live():
                    self.pull_whole(program, repository, digest)
                for digest in repository.deleted:
                    program.request(404, "GET", f"/v2/{repository.name}/manifests/{digest}",
                                    Accept=MANIFEST)
                self.check_tags(program, repository)

    def count(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    def run(self):
        weights = {self.push: 5, self.move_tag: 3, self.pull: 3, self.delete_manifest: 2,
                   self.delete_tag: 2}
        last = None
        try:
            for _ in range(OPERATIONS):
                operation, = self.random.choices(list(weights), weights.values())
                last = operation.__name__
                if operation(self.random.choice(self.repositories)):
                    self.count(last)
            last = "the check of everything"
            self.check_all()
        except (AssertionError, OSError, http.client.HTTPException) as error:
            self.failure = f"{last}: {error!r}"


def main():
    addresses = {"entrepot": sys.argv[1], "docker-registry": sys.argv[2]}
    seed = sys.argv[3]
    print(f"seed {seed}", flush=True)
    source = random.Random(seed)
    layers = [source.randbytes(source.randint(1, 400_000)) for _ in range(LAYERS)]
    clients = [Client(i, seed, addresses, layers) for i in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    failures = [client.failure for client in clients if client.failure]
    if failures:
        sys.exit("\n".join(failures))
    used = {r.name for client in clients for r in client.repositories if r.blobs}
    for program in (clients[0].ours, clients[0].theirs):
        _, data = program.request(200, "GET", "/v2/_catalog?n=1000")
        if set(json.loads(data)["repositories"]) != used:
            sys.exit(f"{program.name}: the catalog is {data}, not {used}")
    total = {}
    for client in clients:
        for what, times in client.done.items():
            total[what] = total.get(what, 0) + times
    print(", ".join(f"{what}: {times}" for what, times in sorted(total.items())))
    images = sum(len(r.live()) for client in clients for r in client.repositories)
    print(f"{images} images are whole in both programs")


main()
