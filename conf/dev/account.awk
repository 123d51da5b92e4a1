# Adds up what conf/dev/up did from access logs, see there. Fields are separated by double quotes:
# $2 is the request line, $3 status and bytes, $6 the user agent, $8 Cache-Status.

kind == "blob" { order[++count] = $1; size[$1] = $2; next }

$2 !~ /^GET .*\/blobs\/sha256:/ { next }
{
  digest = $2
  sub(/^.*\/blobs\//, "", digest)
  sub(/[ ?].*$/, "", digest)
  split($3, answer, " ")
  status = answer[1]
  bytes = answer[2]
}
kind == "origin" && $6 ~ /^entrepot-edge/ { fetched[digest] += bytes; next }
kind == "origin" && (status == 302 || status == 307) { redirects[digest]++; next }
kind == "origin" { direct[digest]++; next }
{
  outcome = $8 ~ /; *hit/ ? "hit" : $8 ~ /; *fwd=[a-z-]*miss/ ? "miss" : "?"
  if (status != 200 || bytes != size[digest]) outcome = status "/" bytes
}
kind == "first" && !(digest in first) { first[digest] = outcome; next }
kind == "first" && outcome != "hit" { first[digest] = first[digest] "+" outcome; next }
kind == "second" && !(digest in second) { second[digest] = outcome; next }
kind == "second" && outcome != "hit" { second[digest] = second[digest] "+" outcome; next }

END {
  printf "    %-20s  %12s  %-10s  %-11s  %9s  %s\n", "blob", "bytes", "first pull", "second pull", \
    "redirects", "from the origin"
  good = count > 0
  for (i = 1; i <= count; i++) {
    d = order[i]
    ok = first[d] == "miss" && second[d] == "hit" && redirects[d] > 0 && !direct[d] && \
      fetched[d] == size[d]
    if (!ok) good = 0
    printf "    %-19s…  %12d  %-10s  %-11s  %9d  %.2f×%s\n", substr(d, 1, 19), size[d], \
      first[d], second[d], redirects[d], size[d] ? fetched[d] / size[d] : 0, ok ? "" : "  WRONG"
  }
  exit !good
}
