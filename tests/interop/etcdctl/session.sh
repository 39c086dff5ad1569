#!/usr/bin/env bash
# A session of etcdctl 3.7.1 on a fresh store. Prints every command line and what it answered, with
# the exit status where it is not 0; `expected.txt` is that of etcd 3.7.1.
# Usage: session.sh ETCDCTL ENDPOINT
set -u
etcdctl=$1 endpoint=$2

# Ids and terms differ from store to store, hashes and sizes from program to program; the warnings
# that the Go client logs are not the server's.
faceless() {
  sed -E \
    -e '/^\{"level":"(warn|info)"/d' \
    -e 's/"(cluster_id|member_id|raft_term|ClusterID|MemberID|RaftTerm)" ?: ?[0-9]+/"\1":#/g' \
    -e "s#(http://)?${endpoint#http://}#ENDPOINT#g" \
    -e 's/took = [^ ]+$/took = #/'
}

try() {
  printf '$ etcdctl %s\n' "$*"
  "$etcdctl" --endpoints="$endpoint" "$@" > "$answer" 2>&1
  local status=$?
  faceless < "$answer"
  if [ $status -ne 0 ]; then printf '(exit %d)\n' $status; fi
}

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

try endpoint health
try put greeting hello
try get greeting
try get greeting -w json
try get greeting -w fields
try put greeting hi --prev-kv
try get greeting --rev=2
try get greeting --rev=99
try get missing
printf 'a value from stdin' | try put stdin
try get stdin --print-value-only
for letter in a b c d e; do try put "list/$letter" "value $letter"; done
try get list/ --prefix
try get list/ --prefix --keys-only
try get list/ --prefix --limit=2 --order=DESCEND --print-value-only
try get list/b list/d
try get list/d --from-key --keys-only
try get list/ --prefix --count-only -w fields
try get list/ --prefix --sort-by=MODIFY --order=DESCEND --limit=1
try get list/ --prefix --min-mod-rev=8
try get list/ --prefix --stream
try get list/a --consistency=s
try put greeting --ignore-value --prev-kv
try put missing --ignore-value
try put key value --lease=7b
try del list/a
try del list/ --prefix --prev-kv
try del list/ --prefix
printf 'mod("greeting") > "0"\nvalue("greeting") = "hi"\n\nput one 1\nput two 2\nget greeting\n\nget two\n\n' | try txn
printf 'version("one") > "1"\n\nput one 11\n\nget one\ndel two\n\n' | try txn
printf 'create("never") = "0"\n\nput x 1\nput x 2\n\n\n' | try txn
try get one --prefix -w json
try compaction 10
try compaction 10
try compaction 99
try get greeting --rev=9
try compaction 13 --physical
try get greeting --rev=13
try alarm list
try alarm disarm
try get '' --prefix --keys-only
