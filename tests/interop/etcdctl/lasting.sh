#!/usr/bin/env bash
# A session of etcdctl 3.7.1 about watches, leases, locks and elections, on a fresh store. Prints
# every command line and what it answered; `lasting.txt` is that of etcd 3.7.1.
# Usage: lasting.sh ETCDCTL ENDPOINT
set -u
etcdctl=$1 endpoint=$2
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# The session's own names for leases; everything else as in session.sh.
declare -A leases
faceless() {
  local expressions=() name
  for name in "${!leases[@]}"; do
    expressions+=(-e "s/${leases[$name]}/$name/g" -e "s/\\b$((16#${leases[$name]}))\\b/$name/g")
  done
  sed -E \
    -e '/^\{"level":"(warn|info)"/d' \
    -e 's/"(cluster_id|member_id|raft_term|ClusterID|MemberID|RaftTerm)" ?: ?[0-9]+/"\1":#/g' \
    -e 's#(mutex|chair)/[0-9a-f]+#\1/LEASE#' \
    -e 's/remaining\(([0-9]+)s\)/remaining(#)/' \
    ${expressions[@]+"${expressions[@]}"}
}

ctl() { "$etcdctl" --endpoints="$endpoint" "$@"; }

show() { printf '$ etcdctl %s\n' "$*" | faceless; }

try() {
  show "$@"
  ctl "$@" > "$answer" 2>&1
  local status=$?
  faceless < "$answer"
  if [ $status -ne 0 ]; then printf '(exit %d)\n' $status; fi
}

# grant NAME TTL: a lease that is called NAME from then on.
grant() {
  show lease grant "$2"
  ctl lease grant "$2" > "$answer" 2>&1
  leases[$1]=$(sed -n 's/^lease \([0-9a-f]*\) granted.*/\1/p' "$answer")
  faceless < "$answer"
}

# first LINES COMMAND...: the first lines of a command that does not end by itself.
first() {
  local lines=$1 background
  shift
  show "$@"
  : > "$answer"
  "$etcdctl" --endpoints="$endpoint" "$@" > "$answer" 2>&1 &
  background=$!
  for _ in $(seq 1000); do
    if [ "$(faceless < "$answer" | wc -l)" -ge "$lines" ]; then break; fi
    sleep 0.01
  done
  # It gives back what it holds, as it does for ^C.
  kill "$background" 2> /dev/null
  wait "$background" 2> /dev/null
  faceless < "$answer" | head -n "$lines"
}

try put a 1
try put a 2
try put b 1
try del a
first 9 watch a --rev=2
first 13 watch --prefix '' --rev=3 --prev-kv
first 9 watch a z --rev=3
first 1 watch b --rev=4 -w json
first 13 watch a --rev=2 --prev-kv

grant LEASE1 60
try put leased/a 1 "--lease=${leases[LEASE1]}"
try put leased/b 1 "--lease=${leases[LEASE1]}"
grant LEASE2 1
try put leased/c 1 "--lease=${leases[LEASE2]}"
try lease list
try lease timetolive "${leases[LEASE1]}" --keys
try lease keep-alive --once "${leases[LEASE1]}"
first 6 watch leased/c --rev=8
try lease timetolive "${leases[LEASE2]}"
try lease keep-alive --once "${leases[LEASE2]}"
try lease revoke "${leases[LEASE1]}"
try lease revoke "${leases[LEASE1]}"
try get leased/ --prefix
try put leased/a 1 "--lease=${leases[LEASE1]}"

try compaction 6
first 1 watch a --rev=2

try lock mutex echo held
try lock mutex -- sh -c 'exit 3'
try get mutex --prefix
first 1 lock mutex
first 2 elect chair somebody
try get chair --prefix
